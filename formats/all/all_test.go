package all_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
	"github.com/imsfs/imsfs/formats/formattest"
)

// source is a file in memory.
type source = formattest.Bytes

// with is a file of n zeros but for magic at off.
func with(n, off int, magic string) source {
	s := make(source, n)
	copy(s[off:], magic)
	return s
}

// The magic numbers are repeated here as the formats' own documents give them, so that a slip in the table shows.
func TestForeignContentIsRefusedByName(t *testing.T) {
	tests := []struct {
		name string
		src  source
	}{
		{"version 4", with(4096, 0, "QFI\xfb\x00\x00\x00\x04")},
		{"LUKS", with(4096, 0, "LUKS\xba\xbe\x00\x02")},
		{"DMG", with(4096, 4096-512, "koly\x00\x00\x00\x04")},
		{"gzip", with(4096, 0, "\x1f\x8b\x08\x00")},
		{"xz", with(4096, 0, "\xfd7zXZ\x00\x00\x04")},
		{"zstd", with(4096, 0, "\x28\xb5\x2f\xfd\x04")},
		{"bzip2", with(4096, 0, "BZh9\x31\x41\x59\x26\x53\x59")},
		{"7z", with(4096, 0, "7z\xbc\xaf\x27\x1c\x00\x04")},
		{"zip", with(4096, 0, "PK\x03\x04\x14\x00")},
		{"tar", with(10240, 257, "ustar\x0000")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := all.Formats().Open(t.Context(), tt.src, "", formats.OpenOptions{})
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("Open: %v, want a refusal that names %s", err, tt.name)
			}
			img, err := all.Formats().Open(t.Context(), tt.src, "raw", formats.OpenOptions{})
			if err != nil {
				t.Fatalf("Open as raw by name: %v", err)
			}
			if img.Info().Format != "raw" {
				t.Errorf("format = %q, want raw", img.Info().Format)
			}
		})
	}
}

// What a driver claims and does not read is refused by name, too.
func TestVariantsThatAreNotReadAreRefusedByName(t *testing.T) {
	for name, src := range map[string]source{
		"seSparse": with(4096, 0, "\xbe\xba\xfe\xca\x00\x00\x00\x00\x01\x00\x00\x00\x02"),
	} {
		_, err := all.Formats().Open(t.Context(), src, "", formats.OpenOptions{})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("Open: %v, want a refusal that names %s", err, name)
		}
	}
}

func TestTwoClaimsAreRefused(t *testing.T) {
	both := with(10240, 257, "ustar\x0000")
	copy(both, "QFI\xfb\x00\x00\x00\x03")
	_, err := all.Formats().Open(t.Context(), both, "", formats.OpenOptions{})
	if err == nil || !strings.Contains(err.Error(), "qcow2") || !strings.Contains(err.Error(), "tar") {
		t.Errorf("Open: %v, want both claims named", err)
	}
}

// TestAnISOIsOneThing: a partition table in front of a disc's descriptors is a part of it. The header of anything else
// makes two things of the file, and which one was meant cannot be told.
func TestAnISOIsOneThing(t *testing.T) {
	disc := func(off int, magic string) source {
		s := with(128<<10, 32768, "\x01CD001\x01")
		copy(s[off:], magic)
		return s
	}
	for name, src := range map[string]source{
		"plain":     disc(0, ""),
		"isohybrid": disc(446, "\x80\x00\x01\x00\x17\x3f\x20\x00"+strings.Repeat("\x00", 56)+"\x55\xaaEFI PART"),
		"for a Mac": disc(0, "ER\x08\x00"+strings.Repeat("\x00", 508)+"PM\x00\x00"),
	} {
		img, err := all.Formats().Open(t.Context(), src, "", formats.OpenOptions{})
		if err != nil || img.Info().Format != "iso" {
			t.Errorf("%s: %v, want an ISO", name, err)
		}
	}
	for _, tt := range []struct {
		name string
		src  source
	}{
		{"qcow2", disc(0, "QFI\xfb\x00\x00\x00\x03")},
		{"qed", disc(0, "QED\x00")},
		{"vdi", disc(0x40, "\x7f\x10\xda\xbe")},
		{"vhd", disc(128<<10-512, "conectix")},
		{"vhdx", disc(0, "vhdxfile")},
		{"zvhd2", disc(0, "z2strm\x00\x00")},
		{"vmdk", disc(0, "KDMV\x01\x00\x00\x00")},
		{"luks", disc(0, "LUKS\xba\xbe\x00\x02")},
		{"dmg", disc(128<<10-512, "koly\x00\x00\x00\x04")},
		{"gzip", disc(0, "\x1f\x8b\x08\x00")},
		{"tar", disc(257, "ustar\x0000")},
	} {
		_, err := all.Formats().Open(t.Context(), tt.src, "", formats.OpenOptions{})
		if !errors.Is(err, formats.ErrCorrupt) || !strings.Contains(strings.ToLower(err.Error()), tt.name) || !strings.Contains(err.Error(), "iso") {
			t.Errorf("%s in an ISO: %v, want both claims named", tt.name, err)
		}
		if img, err := all.Formats().Open(t.Context(), tt.src, "iso", formats.OpenOptions{}); err != nil || img.Info().Size != 128<<10 {
			t.Errorf("%s in an ISO, opened as that by name: %v", tt.name, err)
		}
	}
}

func TestWhatNobodyClaimsIsRaw(t *testing.T) {
	tests := []struct {
		name string
		src  source
	}{
		{"zeros", make(source, 4096)},
		{"one byte", source{1}},
		{"a boot sector", with(512, 510, "\x55\xaa")},
		{"a magic in the wrong place", with(4096, 512, "QFI\xfb")},
		{"ISO 9660 in the wrong place", with(64<<10, 32768+512, "\x01CD001\x01")},
		{"squashfs", with(4096, 0, "hsqs")},
		{"the letters of bzip2", with(4096, 0, "BZh9")},
		{"a magic cut short", source("QF")},
		{"a trailer that does not fit", source("oly\x00")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, err := all.Formats().Open(t.Context(), tt.src, "", formats.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := img.Info(); got.Format != "raw" {
				t.Errorf("format = %q, want raw", got.Format)
			}
		})
	}
}

// TestNamesThatPromiseAFormat: a failed download under the name of an image is not a raw disk.
func TestNamesThatPromiseAFormat(t *testing.T) {
	page := source("<html><body>404 Not Found</body></html>")
	for _, name := range []string{"a.qcow2", "/dir/A.QCOW2", "a.vhdx", "a.vhd", "a.vdi", "a.zvhd", "a.zvhd2", "a.qed", "a.qcow"} {
		_, err := all.Formats().FindFile(t.Context(), page, "", name)
		if !errors.Is(err, formats.ErrCorrupt) || !strings.Contains(err.Error(), "format raw") {
			t.Errorf("%s: %v, want a refusal that says how to override it", name, err)
		}
		if d, err := all.Formats().FindFile(t.Context(), page, "raw", name); err != nil || d.Name() != "raw" {
			t.Errorf("%s as raw: %v", name, err)
		}
	}
	for _, name := range []string{"a.img", "a-flat.vmdk", "a.raw", "a", "qcow2", "a.qcow2.bak"} {
		if d, err := all.Formats().FindFile(t.Context(), page, "", name); err != nil || d.Name() != "raw" {
			t.Errorf("%s: %v, want raw", name, err)
		}
	}
	if d, err := all.Formats().FindFile(t.Context(), with(4096, 0, "QFI\xfb\x00\x00\x00\x03"), "", "a.vhd"); err != nil || d.Name() != "qcow2" {
		t.Errorf("content that a driver claims counts, whatever the name: %v", err)
	}
}

func TestSourceErrorsEndTheProbe(t *testing.T) {
	_, err := all.Formats().Probe(t.Context(), broken{})
	if !errors.Is(err, errBroken) {
		t.Errorf("Probe: %v, want the source's error", err)
	}
}

var errBroken = errors.New("the medium is broken")

type broken struct{}

func (broken) Size() int64                                 { return 1 << 20 }
func (broken) ReadAt(context.Context, []byte, int64) error { return errBroken }

var _ formats.Source = broken{}
