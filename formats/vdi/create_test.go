package vdi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// memory is a formats.Target.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.grow(off + int64(len(p)))
	return copy(m.b[off:], p), nil
}

func (m *memory) Truncate(size int64) error {
	m.grow(size)
	m.b = m.b[:size]
	return nil
}

func (m *memory) grow(end int64) {
	m.b = append(m.b, make([]byte, max(0, end-int64(len(m.b))))...)
}

// ownUUID is, as the image stores it, imageID.
var ownUUID = [16]byte(imageID.swapped())

func newEncoder(t testing.TB, size int64, opts formats.CreateOptions) formats.Encoder {
	t.Helper()
	e, err := Driver{}.Create(size, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// write writes a disk as a caller of Encoder does, to dst.
func write(t testing.TB, disk formattest.Disk, opts formats.CreateOptions, dst formats.Target) {
	t.Helper()
	e := newEncoder(t, disk.Bytes, opts)
	plain := make([]byte, e.ClusterSize())
	next := int64(0) // block
	for _, p := range disk.Parts {
		for ; next*e.ClusterSize() < p.End(); next++ {
			next = max(next, p.Off/e.ClusterSize())
			disk.Fill(plain, next*e.ClusterSize())
			chunk, err := e.Encode(nil, plain, next)
			if err != nil {
				t.Fatal(err)
			}
			off, err := e.Place(next, len(chunk))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dst.WriteAt(chunk, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Finish(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
}

func written(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) []byte {
	t.Helper()
	var dst memory
	write(t, disk, opts, &dst)
	return dst.b
}

// odd is a disk with data at both ends and a hole, of no round size.
func odd() formattest.Disk {
	return formattest.Disk{Bytes: 9<<20 + 512, Parts: []formattest.Part{{Off: 512, Data: formattest.Pattern(512, 70_000)}, {Off: 9<<20 - 512, Data: formattest.Pattern(9<<20-512, 1024)}}}
}

func TestWrittenImagesConform(t *testing.T) {
	image := written(t, odd(), formats.CreateOptions{UUID: ownUUID})
	formattest.Run(t, Driver{}, []formattest.Case{{Name: "written", Image: image, Disk: odd()}})
	if got := problems(t, formattest.Bytes(image)); len(got) > 0 {
		t.Errorf("check reports %v", got)
	}
	if len(image) != 4<<20 { // header and block map, three blocks
		t.Errorf("%d bytes", len(image))
	}
	if got := openSource(t, formattest.Bytes(image)).Info(); got.ID != imageIDText {
		t.Errorf("the image is called %s, want %s", got.ID, imageIDText)
	}
}

// TestWrittenHeader compares with what VirtualBox wants, which refuses UUIDs of zeros.
func TestWrittenHeader(t *testing.T) {
	for _, opts := range []formats.CreateOptions{{}, {UUID: ownUUID}} {
		h, err := readHeader(t.Context(), formattest.Bytes(written(t, formattest.Disk{Bytes: 300<<30 + 512}, opts)))
		if err != nil {
			t.Fatal(err)
		}
		if h.headerSize != 0x190 || h.imageType != typeDynamic || h.offsetBmap != 0x200 || h.offsetData != 2<<20 || h.blocksInImage != 300<<10+1 || h.blocksAllocated != 0 {
			t.Errorf("%+v", h)
		}
		if none := (uuid{}); h.uuidImage == none || h.uuidLastSnap == none || h.uuidImage == h.uuidLastSnap || h.uuidLink != none || h.uuidParent != none {
			t.Errorf("UUIDs %v, %v, %v, %v", h.uuidImage, h.uuidLastSnap, h.uuidLink, h.uuidParent)
		}
		if s := h.uuidLastSnap.String(); s[14] != '8' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Errorf("uuid_last_snap %s is of no version 8", s)
		}
	}
}

// TestGoldenOutputs: the same disk gives the same bytes, for good.
func TestGoldenOutputs(t *testing.T) {
	for _, c := range []struct {
		disk formattest.Disk
		opts formats.CreateOptions
		want string
	}{
		{odd(), formats.CreateOptions{UUID: ownUUID, Timestamp: 1}, "432b2f27da3d421a"},
		{odd(), formats.CreateOptions{}, "be78f0ee43b5f0a0"},
		{formattest.Disk{Bytes: 512}, formats.CreateOptions{}, "5da9217db2491f3b"},
	} {
		sum := sha256.Sum256(written(t, c.disk, c.opts))
		if got := hex.EncodeToString(sum[:8]); got != c.want {
			t.Errorf("%d bytes, %v: %s, want %s", c.disk.Bytes, c.opts, got, c.want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tt := range []struct {
		size int64
		opts formats.CreateOptions
		word string
	}{
		{0, formats.CreateOptions{}, "multiple of 512"},
		{-512, formats.CreateOptions{}, "multiple of 512"},
		{513, formats.CreateOptions{}, "multiple of 512"},
		{maxCreateSize + 512, formats.CreateOptions{}, "at most 562949819203584"},
		{1 << 62, formats.CreateOptions{}, "at most"},
		{512, formats.CreateOptions{Level: 3}, "compression level 3"},
		{512, formats.CreateOptions{Set: map[string]string{"static": "on"}}, "static"},
	} {
		if _, err := (Driver{}).Create(tt.size, tt.opts); err == nil || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("Create(%d, %+v): %v, want %q", tt.size, tt.opts, err, tt.word)
		}
	}
}

func TestEncoderRefuses(t *testing.T) {
	e := newEncoder(t, 4<<20, formats.CreateOptions{})
	block := make([]byte, 1<<20)
	for _, ci := range []int64{-1, 4} {
		if _, err := e.Encode(nil, block, ci); err == nil {
			t.Errorf("block %d of 4 was encoded", ci)
		}
	}
	if _, err := e.Encode(nil, block[1:], 0); err == nil {
		t.Error("a short block was encoded")
	}
	if _, err := e.Place(2, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		ci int64
		n  int
	}{{1, 1 << 20}, {2, 1 << 20}, {4, 1 << 20}, {3, 1<<20 - 1}} {
		if _, err := e.Place(p.ci, p.n); err == nil {
			t.Errorf("block %d, %d bytes, was placed after block 2", p.ci, p.n)
		}
	}
}

func TestFinishTellsOfFailures(t *testing.T) {
	for n := 1; n <= 3; n++ {
		if err := newEncoder(t, 1<<20, formats.CreateOptions{}).Finish(t.Context(), &formattest.Failing{Left: n - 1}); !errors.Is(err, formattest.ErrFull) {
			t.Errorf("call %d failed: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newEncoder(t, 1<<20, formats.CreateOptions{}).Finish(ctx, &memory{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestWrittenIsQemus: qemu finds nothing wrong with what is written, and the same disk in it.
func TestWrittenIsQemus(t *testing.T) {
	full := formattest.Disk{Bytes: 3 << 20, Parts: []formattest.Part{{Data: formattest.Pattern(0, 3<<20)}}}
	far := formattest.Disk{Bytes: 130<<30 + 512, Parts: []formattest.Part{{Data: formattest.Pattern(0, 512)}, {Off: 130 << 30, Data: formattest.Pattern(130<<30, 512)}}}
	for i, disk := range []formattest.Disk{odd(), full, far, {Bytes: 512}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := t.TempDir()
			path, raw := filepath.Join(dir, "disk.vdi"), filepath.Join(dir, "disk.raw")
			writeFile(t, path, func(f *os.File) { write(t, disk, formats.CreateOptions{UUID: ownUUID}, f) })
			writeFile(t, raw, func(f *os.File) {
				for _, p := range disk.Parts {
					if _, err := f.WriteAt(p.Data, p.Off); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Truncate(disk.Bytes); err != nil {
					t.Fatal(err)
				}
			})
			if out := formattest.Qemu(t, "qemu-img", "check", "-f", "vdi", path); !bytes.Contains(out, []byte("No errors were found")) {
				t.Errorf("qemu-img check: %s", out)
			}
			formattest.Qemu(t, "qemu-img", "compare", "-f", "vdi", "-F", "raw", path, raw)
		})
	}
}

func writeFile(t *testing.T, path string, fill func(*os.File)) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fill(f)
}
