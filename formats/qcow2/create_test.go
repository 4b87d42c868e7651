package qcow2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// sparseTarget is a formats.Target that keeps what is written.
type sparseTarget struct {
	parts []formattest.Part
	size  int64
}

func (w *sparseTarget) WriteAt(p []byte, off int64) (int, error) {
	w.parts = append(w.parts, formattest.Part{Off: off, Data: bytes.Clone(p)})
	return len(p), nil
}

func (w *sparseTarget) Truncate(size int64) error {
	for _, p := range w.parts {
		if p.End() > size {
			return io.ErrShortWrite
		}
	}
	w.size = size
	return nil
}

func (w *sparseTarget) source() formattest.Sparse {
	return formattest.Sparse{Bytes: w.size, Parts: w.parts}
}

func (w *sparseTarget) bytes() []byte {
	b := make([]byte, w.size)
	for _, p := range w.parts {
		copy(b[p.Off:], p.Data)
	}
	return b
}

// create writes a disk as a caller of Encoder does.
func create(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) *sparseTarget {
	t.Helper()
	e, err := newDriver().Create(disk.Bytes, opts)
	if err != nil {
		t.Fatal(err)
	}
	dst, size, last := &sparseTarget{}, e.ClusterSize(), int64(-1)
	plain, room := make([]byte, size), make([]byte, 0, size+size/8+4096)
	for _, part := range disk.Parts {
		for ci := max(last+1, part.Off/size); ci*size < part.End(); ci++ {
			last = ci
			if disk.Fill(plain, ci*size); bytes.Equal(plain, make([]byte, size)) {
				continue
			}
			chunk, err := e.Encode(room, plain, ci)
			if err != nil {
				t.Fatal(err)
			}
			off, err := e.Place(ci, len(chunk))
			if err != nil {
				t.Fatal(err)
			}
			dst.WriteAt(chunk, off)
		}
	}
	if err := e.Finish(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// set makes options of K=V, separated by commas.
func set(options string) map[string]string {
	m := map[string]string{}
	for _, o := range strings.Split(options, ",") {
		if key, value, ok := strings.Cut(o, "="); ok {
			m[key] = value
		}
	}
	return m
}

func TestCreate(t *testing.T) {
	for _, opts := range []string{
		"", "cluster_size=512", "compression_type=none,cluster_size=2M", "compression_type=zstd", "compression_type=zstd,cluster_size=512",
		"compression_type=zstd,cluster_size=2m", "compression_type=deflate", "compression_type=zlib,cluster_size=4096",
	} {
		t.Run(opts, func(t *testing.T) {
			disk := formattest.Flat(content(1<<20 + 1536))
			image := create(t, disk, formats.CreateOptions{Set: set(opts)}).bytes()
			if again := create(t, disk, formats.CreateOptions{Set: set(opts)}).bytes(); !bytes.Equal(image, again) {
				t.Error("the same disk gave other bytes")
			}
			if !bytes.Equal(formattest.ReadAll(t, formattest.Open(t, newDriver(), image, formats.OpenOptions{})), disk.Parts[0].Data) {
				t.Error("the image reads as another disk")
			}
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
			sameAsQEMU(t, path)
			if damage, leaks := qemuCheck(t, path); damage || leaks {
				t.Errorf("qemu-img check: damage %v, leaks %v", damage, leaks)
			}
		})
	}
}

func TestCreateDisksOfAllKinds(t *testing.T) {
	const far = 130 << 30
	for name, disk := range map[string]formattest.Disk{
		"one sector":      formattest.Flat(bytes.Repeat([]byte("x"), 512)),
		"empty":           {Bytes: 1 << 30},
		"last of 130 GiB": {Bytes: far, Parts: []formattest.Part{{Off: far - 1000, Data: pattern(1, 1000)}}},
		"full":            formattest.Flat(pattern(2, 300<<10)),
	} {
		for _, opts := range []string{"", "compression_type=zstd"} {
			t.Run(name+opts, func(t *testing.T) {
				image := create(t, disk, formats.CreateOptions{Set: set(opts)})
				wantSound(t, image.source())
				img, err := newDriver().Open(t.Context(), image.source(), formats.OpenOptions{})
				if err != nil || img.Info().Size != disk.Bytes {
					t.Fatalf("%v", err)
				}
				for _, p := range disk.Parts {
					got := make([]byte, len(p.Data))
					if err := img.ReadAt(t.Context(), got, p.Off); err != nil || !bytes.Equal(got, p.Data) {
						t.Errorf("at %d: other bytes, or %v", p.Off, err)
					}
				}
				path := filepath.Join(t.TempDir(), "disk.qcow2")
				if err := os.WriteFile(path, image.bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				if damage, leaks := qemuCheck(t, path); damage || leaks {
					t.Errorf("qemu-img check: damage %v, leaks %v", damage, leaks)
				}
			})
		}
	}
}

// TestCreateGolden: the bytes of an image depend on nothing but disk and options.
func TestCreateGolden(t *testing.T) {
	disk := formattest.Disk{Bytes: 64 << 10, Parts: []formattest.Part{{Off: 1000, Data: pattern(1, 3000)}, {Off: 60 << 10, Data: pattern(2, 4096)}}}
	const want = "e14734226ebff29442c477156b748f941efcc010bab86940bdc08e611f374cac"
	sum := sha256.Sum256(create(t, disk, formats.CreateOptions{Set: set("cluster_size=512")}).bytes())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tt := range []struct {
		size  int64
		level int
		opts  string
		words string
	}{
		{0, 0, "", "multiple of 512"},
		{513, 0, "", "multiple of 512"},
		{128<<30 + 512, 0, "cluster_size=512", "at most 137438953472"},
		{1<<60 + 512, 0, "cluster_size=2M", "at most 1152921504606846976"},
		{512, 0, "cluster_size=256", "from 512 to 2M"},
		{512, 0, "cluster_size=4M", "from 512 to 2M"},
		{512, 0, "cluster_size=3k", "power of two"},
		{512, 0, "cluster_size=many", "cluster_size=many"},
		{512, 0, "compression_type=lzma", "none, deflate or zstd"},
		{512, 0, "compat=1.1", "known are cluster_size, compression_type"},
		{512, 3, "", "compression level 3"},
		{512, 3, "compression_type=deflate", "compression level 3"},
		{512, 23, "compression_type=zstd", "level 23"},
	} {
		_, err := newDriver().Create(tt.size, formats.CreateOptions{Level: tt.level, Set: set(tt.opts)})
		if err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%d bytes, level %d, %q: %v, want %q", tt.size, tt.level, tt.opts, err, tt.words)
		}
	}
}

func TestPlaceAndEncodeRefuse(t *testing.T) {
	e, err := newDriver().Create(10<<16, formats.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Place(3, 100); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]int{{3, 100}, {2, 100}, {10, 100}, {-1, 100}, {4, 0}, {4, 65537}} {
		if _, err := e.Place(int64(bad[0]), bad[1]); err == nil {
			t.Errorf("cluster %d with %d bytes was placed", bad[0], bad[1])
		}
	}
	for _, n := range []int{0, 65535} {
		if _, err := e.Encode(nil, make([]byte, n), 0); err == nil {
			t.Errorf("%d bytes were encoded", n)
		}
	}
	if _, err := e.Encode(nil, make([]byte, 1<<16), 10); err == nil {
		t.Error("a cluster after the disk was encoded")
	}
}

func TestFinishFailsWithItsTarget(t *testing.T) {
	for n := 1; ; n++ {
		e, err := newDriver().Create(1<<30, formats.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e.Place(7, 1<<16)
		err = e.Finish(t.Context(), &formattest.Failing{Left: n - 1})
		if err == nil {
			if n < 4 {
				t.Errorf("%d calls are all that is written", n)
			}
			break
		}
		if !errors.Is(err, formattest.ErrFull) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, _ := newDriver().Create(1<<30, formats.CreateOptions{})
	if err := e.Finish(ctx, &sparseTarget{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want a cancellation", err)
	}
}

// TestCreateTakesNoMemoryForWhatIsEmpty: an empty TiB, and one with 64 GiB of data, which are a million clusters.
func TestCreateTakesNoMemoryForWhatIsEmpty(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	for _, tt := range []struct {
		opts         string
		every, chunk int
		most         uint64
	}{
		{"", 0, 0, 4 << 20},
		{"compression_type=zstd", 0, 0, 4 << 20},
		{"", 1, 1 << 16, 1 << 20},
		{"compression_type=zstd", 1, 30_000, 6 << 20},
	} {
		begin := time.Now()
		e, err := newDriver().Create(1<<40, formats.CreateOptions{Set: set(tt.opts)})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		if tt.every > 0 {
			for ci := int64(0); ci < 1<<20; ci += int64(tt.every) {
				if _, err := e.Place(ci, tt.chunk); err != nil {
					t.Fatal(err)
				}
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if used := after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc); used > tt.most {
			t.Errorf("%+v: %d bytes of memory", tt, used)
		}
		if err := e.Finish(t.Context(), &discard{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); tt.every == 0 && took > time.Minute { // writing out the size would take longer
			t.Errorf("%+v: it took %v", tt, took)
		}
	}
}

// discard is a target that keeps nothing.
type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (discard) Truncate(int64) error                   { return nil }

// TestPlacedIsWhatWasAdded compares the short form with a plain list.
func TestPlacedIsWhatWasAdded(t *testing.T) {
	p := newPlaced(512)
	var want, got []placement
	for i := range int64(100_000) {
		ci := i + i/7*3
		n := int64(512)
		if i%11 > 6 {
			n = 1 + i%511
		}
		p.add(ci, n)
		want = append(want, placement{ci, n})
	}
	for range 2 { // it can be asked again
		got = nil
		for x := range p.all() {
			got = append(got, x)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatal("others come back")
		}
	}
}
