package vhd

import (
	"slices"
	"testing"
)

func TestParentNames(t *testing.T) {
	for _, c := range []struct {
		name     string
		header   string
		locators []parentName
		want     []string
	}{
		{"Hyper-V", `C:\vm\base.vhd`, []parentName{{"W2ku", utf16le(`C:\vm\base.vhd`)}, {"W2ru", utf16le(`.\base.vhd`)}}, []string{"base.vhd"}},
		{"another directory", `D:\a\base.vhd`, []parentName{{"W2ru", utf16le(`..\images\base.vhd`)}}, []string{"../images/base.vhd", "base.vhd"}},
		{"libvhd", "parent.vhd", []parentName{{"MacX", []byte("file:///srv/sr/a%20parent.vhd")}, {"W2ku", utf16le("/srv/sr/a parent.vhd")}, {"W2ru", utf16le("./parent.vhd")}},
			[]string{"parent.vhd", "/srv/sr/a parent.vhd"}},
		{"relative URL", "", []parentName{{"MacX", []byte("file://./parent.vhd")}}, []string{"parent.vhd"}},
		{"URL with a host", "", []parentName{{"MacX", []byte("file://localhost/p.vhd\x00")}}, []string{"/p.vhd"}},
		{"another URL", "", []parentName{{"MacX", []byte("http://host/p.vhd")}, {"MacX", []byte("file://%zz")}, {"MacX", []byte("file://a%00b")}}, nil},
		{"share", `\\server\share\p.vhd`, nil, []string{"p.vhd"}},
		{"directory of the drive", `C:p.vhd`, nil, []string{"p.vhd"}},
		{"a drive alone", `C:\`, []parentName{{"W2ku", utf16le(`\\`)}, {"W2ru", utf16le(`.\`)}, {"Wi2r", []byte("dir/")}}, nil},
		{"old Windows", "", []parentName{{"Wi2k", []byte(`E:\old.vhd`)}, {"Wi2r", []byte("sub\\older.vhd\x00\x00")}}, []string{"sub/older.vhd", "old.vhd"}},
		{"a code page", "", []parentName{{"Wi2r", []byte("\xe4.vhd")}}, nil},
		{"no ASCII", "Grundgerüst 𝄞.vhd", nil, []string{"Grundgerüst 𝄞.vhd"}},
		{"an alias", "", []parentName{{"Mac ", []byte("blob")}}, nil},
		{"odd bytes", "", []parentName{{"W2ru", append(utf16le("p.vhd"), 'x')}}, []string{"p.vhd"}},
		{"none", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := child()
			b.name, b.locators = c.header, c.locators
			backing := openImage(t, b.build()).Info().Backing
			if !slices.Equal(backing.Paths, c.want) {
				t.Errorf("paths = %q, want %q", backing.Paths, c.want)
			}
		})
	}
}

// TestParentNamesInTheOtherByteOrder: some writers have the name in the header in little-endian, and no locators.
func TestParentNamesInTheOtherByteOrder(t *testing.T) {
	for _, name := range []string{"base.vhd", "系统.vhd", "Größe.vhd", `C:\vm\base.vhd`, "x"} {
		header := utf16le(name)
		little := fromUTF16(nameOrder(header), header)
		big := make([]byte, len(header))
		for i := range header {
			big[i] = header[i^1]
		}
		if got := fromUTF16(nameOrder(big), big); little != name || got != name {
			t.Errorf("%q is read as %q, and in big-endian as %q", name, little, got)
		}
	}
}

// A parent without a UUID is XenServer's raw one.
func TestRawParent(t *testing.T) {
	b := child()
	b.parent = uuid{}
	if backing := openImage(t, b.build()).Info().Backing; backing.Format != "raw" || backing.ID != "" {
		t.Errorf("Backing = %+v", backing)
	}
}
