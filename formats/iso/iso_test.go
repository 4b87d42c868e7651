package iso

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// disc is a small disc with these descriptors from sector 16 on, and data behind them.
func disc(descriptors ...string) []byte {
	b := make([]byte, 60*sector)
	for i, d := range descriptors {
		copy(b[(16+i)*sector:], d)
	}
	copy(b[59*sector:], strings.Repeat("data of the disc ", sector/17))
	return b
}

const (
	boot       = "\x00CD001\x01EL TORITO SPECIFICATION"
	supplement = "\x02CD001\x01"
	end        = "\xffCD001\x01"
	bea        = "\x00BEA01\x01"
	nsr        = "\x00NSR02\x01"
	nsr3       = "\x00NSR03\x01"
	tea        = "\x00TEA01\x01"
)

// primary is a primary volume descriptor of a volume of 60 sectors.
func primary(label string) string {
	b := make([]byte, 256)
	copy(b, "\x01CD001\x01")
	copy(b[40:72], fmt.Sprintf("%-32s", label))
	b[80], b[129] = 60, 8 // of 2048 bytes
	return string(b)
}

// withUDF is a disc of UDF alone whose logical volume has the name.
func withUDF(name []byte) []byte {
	b := append(disc(bea, nsr3, tea), make([]byte, 300*sector)...)
	le := binary.LittleEndian
	anchor := b[256*sector:]
	le.PutUint16(anchor, 2)
	le.PutUint32(anchor[16:], 16*sector)
	le.PutUint32(anchor[20:], 260)
	le.PutUint16(b[260*sector:], 1)
	le.PutUint16(b[261*sector:], 6)
	copy(b[261*sector+84:], name)
	b[261*sector+84+127] = byte(len(name))
	le.PutUint16(b[262*sector:], 8)
	return b
}

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	for name, b := range map[string][]byte{
		"iso9660": disc(primary("A"), end), "both": disc(primary("A"), boot, end, bea, nsr, tea),
		"udf": withUDF([]byte("\x08A")), "part of a sector": append(disc(primary("A"), end), 1, 2, 3),
	} {
		padded := append(slices.Clone(b), make([]byte, -len(b)&511)...)
		cases = append(cases, formattest.Case{Name: name, Image: b, Disk: formattest.Flat(padded), PrefixValid: true, Maximal: true})
	}
	formattest.Run(t, Driver{}, cases)
}

func TestProbe(t *testing.T) {
	late := make([]string, maxDescriptors+1)
	for i := range late {
		late[i] = end
	}
	late[maxDescriptors] = primary("A")
	elsewhere := disc()
	copy(elsewhere[17*sector:], primary("A"))
	copy(elsewhere[512:], primary("A"))
	tests := []struct {
		name string
		b    []byte
		want bool
	}{
		{"primary first", disc(primary("A"), end), true},
		{"primary after the boot record", disc(boot, primary("A"), end), true},
		{"no end", disc(primary("A")), true},
		{"udf", disc(bea, nsr, tea), true},
		{"udf 2", disc(bea, nsr3, tea), true},
		{"udf after another's", disc("\x00CDW02\x01", bea, nsr3, tea), true},
		{"no primary", disc(supplement, end), false},
		{"nsr without its beginning", disc(nsr, tea), false},
		{"beginning without nsr", disc(bea, tea), false},
		{"magic elsewhere", elsewhere, false},
		{"a sector early", disc()[:sector], false},
		{"after a gap", disc("", primary("A")), false},
		{"too late", disc(late...), false},
		{"cut short", disc(primary("A"))[:17*sector-1], false},
		{"just long enough", disc(primary("A"))[:17*sector], true},
		{"zeros", make([]byte, 64<<10), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Driver{}.Probe(t.Context(), formattest.Bytes(tt.b))
			if got != tt.want || err != nil {
				t.Errorf("Probe = %v, %v, want %v", got, err, tt.want)
			}
			_, err = Driver{}.Open(t.Context(), formattest.Bytes(tt.b), formats.OpenOptions{})
			if tt.want && err != nil || !tt.want && !errors.Is(err, formats.ErrCorrupt) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func details(t *testing.T, src formats.Source) string {
	t.Helper()
	img, err := Driver{}.Open(t.Context(), src, formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(img.Info().Details)
}

func TestDetails(t *testing.T) {
	mbr := disc(primary("HYBRID"), end)
	mbr[450], mbr[510], mbr[511] = 0x17, 0x55, 0xaa
	gpt := slices.Clone(mbr)
	copy(gpt[512:], "EFI PART")
	large := slices.Clone(gpt)
	clear(large[512:520])
	copy(large[2048:], "EFI PART")
	signed := disc(primary("A"), end) // as any boot sector is
	signed[510], signed[511] = 0x55, 0xaa
	const none, size = " {system_area no partition table}", " {volume_size 122880}"
	tests := []struct {
		name, want string
		b          []byte
	}{
		{"iso9660", "[{content iso9660} {volume_label MY DISC}" + none + size + "]", disc(primary("MY DISC"), end)},
		{"hostile label", `[{content iso9660} {volume_label a\x00\n\"b}` + none + size + "]", disc(primary("a\x00\n\"b"), end)},
		{"both, bootable", "[{content iso9660 udf} {volume_label A}" + none + size + " {el_torito boot catalog in sector 33}]", disc(primary("A"), boot+strings.Repeat("\x00", 71-len(boot))+"\x21", end, bea, nsr, tea)},
		{"mbr", "[{content iso9660} {volume_label HYBRID} {system_area mbr}" + size + "]", mbr},
		{"gpt", "[{content iso9660} {volume_label HYBRID} {system_area mbr gpt}" + size + "]", gpt},
		{"gpt in large sectors", "[{content iso9660} {volume_label HYBRID} {system_area mbr gpt}" + size + "]", large},
		{"a boot sector", "[{content iso9660} {volume_label A}" + none + size + "]", signed},
		{"udf", "[{content udf} {volume_label Größe}" + none + "]", withUDF([]byte("\x08Gr\xf6\xdfe"))},
		{"udf in 16 bits", "[{content udf} {volume_label 日本}" + none + "]", withUDF([]byte("\x10\x65\xe5\x67\x2c"))},
		{"udf in odd bits", "[{content udf} {volume_label }" + none + "]", withUDF([]byte("\x09ab"))},
		{"udf without an anchor", "[{content udf} {volume_label }" + none + "]", disc(bea, nsr, tea)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := details(t, formattest.Bytes(tt.b)); got != tt.want {
				t.Errorf("%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestHostileUDF: whatever the anchor says, little is read.
func TestHostileUDF(t *testing.T) {
	for _, at := range []uint32{0, 1, 259, 400, 1<<32 - 1} {
		b := withUDF([]byte("\x08A"))
		binary.LittleEndian.PutUint32(b[256*sector+16:], 1<<32-1)
		binary.LittleEndian.PutUint32(b[256*sector+20:], at)
		for i := 259; i < 330; i++ {
			b[i*sector] = 9 // no end
		}
		src := &formattest.Counting{Source: formattest.Bytes(b)}
		details(t, src)
		if n := src.Read(); n > 100<<10 {
			t.Errorf("sequence at %d: %d bytes were read", at, n)
		}
	}
}

func TestRefused(t *testing.T) {
	_, err := Driver{}.Open(t.Context(), formattest.Bytes(disc(primary("A"))), formats.OpenOptions{Snapshot: "s"})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a snapshot: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Driver{}).Open(ctx, formattest.Bytes(disc(primary("A"))), formats.OpenOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMadeByGenisoimage looks at what a real program writes.
func TestMadeByGenisoimage(t *testing.T) {
	program := formattest.Tool(t, "genisoimage", "genisoimage")
	dir := t.TempDir()
	for name, n := range map[string]int{"hello.txt": 100, "boot.img": 2048} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ args, want string }{
		{"-V LABEL", "{content iso9660} {volume_label LABEL}"},
		{"-V LABEL -J -R", "{content iso9660} {volume_label LABEL}"},
		{"-V LABEL -udf", "{content iso9660 udf} {volume_label LABEL}"},
		{"-V LABEL -b boot.img -no-emul-boot", "{el_torito boot catalog in sector "},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "disc.iso")
		args := append(strings.Fields(tt.args), "-quiet", "-o", path, dir)
		if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		src := formattest.OpenFile(t, path)
		if ok, err := (Driver{}).Probe(t.Context(), src); !ok || err != nil {
			t.Errorf("%s: Probe = %v, %v", tt.args, ok, err)
		}
		got := details(t, src)
		if !strings.Contains(got, tt.want) || !strings.Contains(got, fmt.Sprintf("{volume_size %d}", src.Size()-src.Size()%sector)) && !strings.Contains(tt.args, "-udf") {
			t.Errorf("%s: %s, want %s", tt.args, got, tt.want)
		}
	}
}
