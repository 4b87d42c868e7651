package zvhd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// openIndexed opens as formats.Set does, which must not hide what the image can do.
func openIndexed(t testing.TB, src formats.Source) formats.Indexed {
	t.Helper()
	ix, ok := openSource(t, src).(formats.Indexed)
	if !ok {
		t.Fatal("the image is not Indexed")
	}
	return ix
}

func buildIndex(t testing.TB, img formats.Indexed) formattest.Bytes {
	t.Helper()
	var b bytes.Buffer
	if err := img.BuildIndex(t.Context(), func(p []byte) error { b.Write(p); return nil }); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != img.IndexSize() {
		t.Fatalf("the index has %d bytes, IndexSize is %d", b.Len(), img.IndexSize())
	}
	return b.Bytes()
}

// indexedDriver is the driver with an index at hand, for the suite.
type indexedDriver struct {
	*Driver
	index map[int64]formattest.Bytes // by the size of the source
}

func (d indexedDriver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	img, err := d.Driver.Open(ctx, src, opts)
	if err != nil || d.index[src.Size()] == nil {
		return img, err
	}
	// Of a damaged file it may be the wrong one. Then it is not used.
	if err := img.(formats.Indexed).UseIndex(ctx, d.index[src.Size()]); err != nil && !errors.Is(err, formats.ErrCorrupt) {
		return nil, err
	}
	return img, nil
}

func TestConformanceWithAnIndex(t *testing.T) {
	disk := smallDisk()
	image := writeImage(t, disk, formats.CreateOptions{})
	index := buildIndex(t, openIndexed(t, formattest.Bytes(image)))
	formattest.Run(t, indexedDriver{New(), map[int64]formattest.Bytes{int64(len(image)): index}}, []formattest.Case{
		{Name: "ours", Image: image, Disk: disk, Checked: []formattest.Range{{Off: 0, End: headerSize}}},
	})
}

// manyBlocks is a disk whose stored blocks fill more than one group of an index, some next to each other and some not.
func manyBlocks() formattest.Disk {
	disk := formattest.Disk{Bytes: 1 << 30}
	for i := range int64(groupLen + 5) {
		off := (i + i/5) * blockSize
		disk.Parts = append(disk.Parts, formattest.Part{Off: off, Data: formattest.Pattern(off, 6000)}, formattest.Part{Off: off + blockSize - 5000, Data: noise(5000)})
	}
	return disk
}

func TestIndexOfManyBlocks(t *testing.T) {
	disk := manyBlocks()
	src := &formattest.Counting{Source: formattest.Bytes(writeImage(t, disk, formats.CreateOptions{}))}
	img := openIndexed(t, src)
	index := buildIndex(t, img)
	want := extents(t, img)
	if again := buildIndex(t, img); !bytes.Equal(index, again) {
		t.Error("the second index is another")
	}
	other := openIndexed(t, src)
	if err := other.UseIndex(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	before := src.Calls()
	if got := extents(t, other); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("extents by the index: %v, want %v", got, want)
	}
	if n := src.Calls() - before; n != 0 {
		t.Errorf("listing the extents by an index took %d reads of the image", n)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	p, wantBytes := make([]byte, 4096), make([]byte, 4096)
	for range 300 {
		off := rnd.Int64N(disk.Bytes - 4096)
		if part := disk.Parts[rnd.IntN(len(disk.Parts))]; rnd.IntN(2) == 0 {
			off = max(0, part.Off-rnd.Int64N(3000))
		}
		before := src.Calls()
		if err := other.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		if disk.Fill(wantBytes, off); !bytes.Equal(p, wantBytes) {
			t.Fatalf("wrong bytes at %d", off)
		}
		if n := src.Calls() - before; n > 2 {
			t.Errorf("4 KiB at %d took %d reads of the image", off, n)
		}
	}
}

func extents(t testing.TB, img formats.Image) (all []formats.Extent) {
	t.Helper()
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestIndexOfAnotherFileIsRefused(t *testing.T) {
	disk := smallDisk()
	image := formattest.Bytes(writeImage(t, disk, formats.CreateOptions{}))
	index := buildIndex(t, openIndexed(t, image))
	last := len(index) - unit
	for _, c := range []struct {
		name   string
		image  []byte
		change func(b []byte) []byte
		word   string
	}{
		{"another header", writeImage(t, disk, formats.CreateOptions{Timestamp: 1e9}), nil, "another file"},
		{"another size", append(bytes.Clone(image), make([]byte, unit)...), nil, ""},
		{"cut", image, func(b []byte) []byte { return b[:len(b)-1] }, "bytes"},
		{"longer", image, func(b []byte) []byte { return append(b, 0) }, "bytes"},
		{"zeros", image, func(b []byte) []byte { return make([]byte, len(b)) }, "damaged"},
		{"magic", image, func(b []byte) []byte { b[last] ^= 1; return b }, "damaged"},
		{"a bit of the last page", image, func(b []byte) []byte { b[last+200] ^= 1; return b }, "damaged"},
		{"version", image, func(b []byte) []byte { b[last+16] = 9; sealPage(b[last:]); return b }, "version 9"},
		{"pieces", image, func(b []byte) []byte { b[last+20] = 4; sealPage(b[last:]); return b }, "4 pieces"},
		{"stored", image, func(b []byte) []byte { b[last+31] = 1; sealPage(b[last:]); return b }, "blocks"},
		{"first blocks", image, func(b []byte) []byte { b[last-unit] ^= 1; return b }, "first blocks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ix := bytes.Clone(index)
			if c.change != nil {
				ix = c.change(ix)
			}
			img := openIndexed(t, formattest.Bytes(c.image))
			formattest.WantError(t, img.UseIndex(t.Context(), formattest.Bytes(ix)), formats.ErrCorrupt, "index", c.word)
			got := make([]byte, len(disk.Parts[0].Data))
			if err := img.ReadAt(t.Context(), got, disk.Parts[0].Off); err != nil || !bytes.Equal(got, disk.Parts[0].Data) {
				t.Errorf("wrong bytes or %v", err)
			}
		})
	}
}

// TestDamagedIndexIsGivenUp: reads are right without it.
func TestDamagedIndexIsGivenUp(t *testing.T) {
	disk := smallDisk()
	image := formattest.Bytes(writeImage(t, disk, formats.CreateOptions{}))
	good := buildIndex(t, openIndexed(t, image))
	for name, change := range map[string]func(b []byte){
		"windows": func(b []byte) {
			for at := 100; at < groupSize-unit; at += windowSize {
				b[at] ^= 1
			}
		},
		"page": func(b []byte) { b[groupSize-unit] ^= 1 },
		"place": func(b []byte) { // with a good checksum
			page := b[groupSize-unit:][:unit]
			for i := range int64(groupLen) {
				for p := range pieces {
					binary.LittleEndian.PutUint32(page[i*entrySize+16+int64(p)*placeSize+8:], 1<<31)
				}
			}
			sealPage(page)
		},
	} {
		t.Run(name, func(t *testing.T) {
			index := bytes.Clone(good)
			change(index)
			img := openIndexed(t, image)
			if err := img.UseIndex(t.Context(), formattest.Bytes(index)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(disk.Parts[0].Data))
			if err := img.ReadAt(t.Context(), got, disk.Parts[0].Off); err != nil || !bytes.Equal(got, disk.Parts[0].Data) {
				t.Errorf("wrong bytes or %v", err)
			}
		})
	}
}

func TestBuildIndexEndsWithItsWriter(t *testing.T) {
	image := formattest.Bytes(writeImage(t, smallDisk(), formats.CreateOptions{}))
	full := errors.New("full")
	img := openIndexed(t, image)
	for left := 0; ; left += 5 {
		n := left
		err := img.BuildIndex(t.Context(), func([]byte) error {
			if n--; n < 0 {
				return full
			}
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, full) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := img.BuildIndex(ctx, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled BuildIndex = %v", err)
	}
}

// TestReadsWhileTheIndexIsBuilt and when it comes into use under them.
func TestReadsWhileTheIndexIsBuilt(t *testing.T) {
	disk := manyBlocks()
	img := openIndexed(t, formattest.Bytes(writeImage(t, disk, formats.CreateOptions{})))
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 3))
			got, want := make([]byte, 8000), make([]byte, 8000)
			for range 100 {
				off := disk.Parts[rnd.IntN(len(disk.Parts))].Off - rnd.Int64N(4000)
				off = min(max(off, 0), disk.Bytes-8000)
				if err := img.ReadAt(t.Context(), got, off); err != nil {
					t.Error(err)
					return
				}
				if disk.Fill(want, off); !bytes.Equal(got, want) {
					t.Errorf("wrong bytes at %d", off)
					return
				}
			}
		})
	}
	index := buildIndex(t, img)
	if err := img.UseIndex(t.Context(), index); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
