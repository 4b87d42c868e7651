package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"github.com/imsfs/imsfs/formats"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written1 is the content of testdata/v1: a disk of 40000 bytes over nothing. Unit 1 is filled with 1, unit 3 was written and
// zeroed, and the last, 3136 bytes long, is filled with 9.
func written1() []byte {
	want := make([]byte, 40000)
	for i := Unit; i < 2*Unit; i++ {
		want[i] = 1
	}
	for i := 9 * Unit; i < len(want); i++ {
		want[i] = 9
	}
	return want
}

// TestVersions opens what each version wrote. The files are never made anew: a new version gets a directory of its own.
func TestVersions(t *testing.T) {
	for _, v := range []string{"v1"} {
		t.Run(v, func(t *testing.T) {
			f := golden(t, v)
			d, err := Open([]Files{f}, nil, false)
			must(t, err)
			got := make([]byte, d.Size())
			_, err = d.ReadAt(t.Context(), got, 0)
			must(t, err)
			if !bytes.Equal(got, written1()) {
				t.Error("it reads otherwise than it was written")
			}
			if n := d.Allocated(); n != 2*Unit {
				t.Errorf("%d bytes are allocated, want two units", n)
			}
			must(t, d.Close())
		})
	}
}

// golden is a version's files in memory. (In the repository the data has no holes, and ends where it is written.)
func golden(t testing.TB, v string) Files {
	t.Helper()
	f := newFiles()
	for name, m := range map[string]File{"delta": f.Data, "bitmap": f.Bitmap} {
		b, err := os.ReadFile(filepath.Join("testdata", v, name))
		must(t, err)
		m.(*memory).bytes = b
	}
	return f
}

// TestBytes holds the layout to docs/overlay.md.
func TestBytes(t *testing.T) {
	f := newFiles()
	must(t, Create(f, 40000, 40000))
	d, err := Open([]Files{f}, nil, false)
	must(t, err)
	want := written1()
	for _, u := range []int64{1, 3, 9} {
		_, err := d.WriteAt(t.Context(), bytes.Repeat([]byte{byte(u)}, int(min(Unit, 40000-u*Unit))), u*Unit)
		must(t, err)
	}
	must(t, d.Zero(t.Context(), 3*Unit, Unit))
	must(t, d.Close())
	data, bitmap := f.Data.(*memory).bytes, f.Bitmap.(*memory).bytes
	if !bytes.Equal(data, want) {
		t.Error("the data is not at the disk's offsets")
	}
	h := bitmap[:4096]
	if !bytes.Equal(h, bitmap[4096:8192]) || string(h[4:16]) != "imsfs delta\n" || len(bitmap) != 4*4096 {
		t.Errorf("a bitmap of %d bytes begins with %q", len(bitmap), h[:16])
	}
	for at, want := range map[int]uint64{16: 1 | 4096<<32, 24: 3, 32: 40000, 40: 40000} {
		if got := binary.LittleEndian.Uint64(h[at:]); got != want {
			t.Errorf("the header has %#x at %d, want %#x", got, at, want)
		}
	}
	slot := bitmap[8192+4096:]
	if !formats.IsZero(bitmap[8192:][:4096]) || string(slot[4:8]) != "page" || slot[16] != 1 {
		t.Error("the first version of page 0 is not in slot 1")
	}
	if got := binary.LittleEndian.Uint64(slot[64:]); got != 1<<2|2<<6|1<<18 {
		t.Errorf("the states are %#x", got)
	}
	for at, f := range map[string][]byte{"delta": data, "bitmap": bitmap} {
		stored, err := os.ReadFile(filepath.Join("testdata", "v1", at))
		if err != nil || !bytes.Equal(stored, f) {
			t.Errorf("what is written now is not testdata/v1/%s (%v)", at, err)
		}
	}
}

// TestDamage: each is told with its file, its place and its rule, and the rest can be salvaged.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(data, bitmap *memory)
		rule   string
		keeps  bool // the whole of it can be read when it is salvaged
	}{
		{"page", func(_, b *memory) { b.bytes[8192+4096+100] ^= 1 }, "the checksum of all pages", false},
		{"lost page", func(_, b *memory) { clear(b.bytes[8192:]) }, "the checksum of all pages", false},
		{"stale page", func(_, b *memory) { b.bytes[8192+3] = 1 }, "", true},
		{"short bitmap", func(_, b *memory) { b.bytes = b.bytes[:3*4096] }, "it ends there", false},
		{"no header", func(_, b *memory) { b.bytes = b.bytes[:5000] }, "ends within its header", false},
		{"both headers", func(_, b *memory) { b.bytes[30]++; b.bytes[4096+30]++ }, "both copies of the header", false},
		{"one header", func(_, b *memory) { b.bytes[30]++ }, "", true},
		{"short data", func(d, _ *memory) { d.bytes = d.bytes[:9*Unit] }, "the file has 36864 bytes", false},
		{"long data", func(d, _ *memory) { d.bytes = append(d.bytes, 1) }, "the file has 40001 bytes", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := golden(t, "v1")
			c.damage(f.Data.(*memory), f.Bitmap.(*memory))
			_, err := Open([]Files{f}, nil, false)
			var damage *DamagedError
			if c.rule == "" {
				must(t, err)
			} else if !errors.As(err, &damage) || !strings.Contains(damage.Error(), c.rule) || damage.File == "" {
				t.Fatalf("opening it: %v", err)
			}
			d, err := Open([]Files{f}, nil, true)
			if strings.Contains(c.name, "header") && c.rule != "" {
				if err == nil {
					t.Error("what has no header was opened")
				}
				return
			}
			must(t, err)
			checkSalvaged(t, d, c.rule == "", c.keeps)
		})
	}
}

func checkSalvaged(t *testing.T, d *Disk, whole, keeps bool) {
	t.Helper()
	want, failed := written1(), false
	for u := int64(0); u < units(d.Size()); u++ {
		p := make([]byte, min(Unit, d.Size()-u*Unit))
		_, err := d.ReadAt(t.Context(), p, u*Unit)
		failed = failed || err != nil
		if err == nil && !bytes.Equal(p, want[u*Unit:][:len(p)]) {
			t.Errorf("unit %d has wrong bytes", u)
		}
	}
	if failed == keeps {
		t.Errorf("a unit could not be read: %v", failed)
	}
	if _, err := d.WriteAt(t.Context(), []byte{1}, 0); (err == nil) != whole {
		t.Errorf("a write to it: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	bitmap, err := os.ReadFile("testdata/v1/bitmap")
	must(f, err)
	f.Add(bitmap, 40000)
	torn := bytes.Clone(bitmap)
	h := header{seq: 9, size: 40000, limit: 40000}
	copy(torn, h.encode())
	torn[8192] = 1
	f.Add(torn, 40000)
	f.Add(bitmap[:9000], 10)
	f.Fuzz(func(t *testing.T, bitmap []byte, size int) {
		files := newFiles()
		files.Bitmap.(*memory).bytes = bitmap
		files.Data.(*memory).bytes = make([]byte, max(size, 0)%(1<<20))
		for _, salvage := range []bool{false, true} {
			d, err := Open([]Files{files}, nil, salvage)
			if err != nil {
				continue
			}
			p := make([]byte, 3*Unit)
			for _, off := range []int64{0, d.Size() / 2, d.Size() - 1} {
				if off >= 0 && d.Size() > 0 {
					d.ReadAt(t.Context(), p, off) // what it says is up to what it is made of
					if _, err := d.Extent(t.Context(), off, d.Size()-off); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}
