package vdi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

const (
	un = unallocated
	ze = discarded
)

// scattered is a block map of many pages whose blocks lie in pieces in the file.
func scattered(n int) []uint32 {
	rnd := rand.New(rand.NewPCG(5, 7))
	entries := make([]uint32, n)
	next := uint32(0)
	for i := 0; i < n; {
		state := rnd.IntN(4)
		for run := 1 + rnd.IntN(900); run > 0 && i < n; run-- {
			entries[i] = un
			if state == 1 {
				entries[i] = ze
			}
			if state > 1 && next < 6000 {
				entries[i] = next
				next++
			}
			i++
		}
	}
	return entries
}

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	add := func(name string, b build) {
		image, disk := filled(b)
		cases = append(cases, formattest.Case{Name: name, Image: image, Disk: disk})
	}
	add("dynamic", build{size: 8<<20 + 4096, entries: []uint32{un, 2, 3, ze, 1, un, ze, un, 0}})
	add("fixed", build{size: 3 << 20, imageType: typeFixed, entries: []uint32{0, 1, 2}})
	add("odd size", build{size: 1<<20 + 700, entries: []uint32{un, 0}})
	add("more blocks than the disk needs", build{size: 1 << 20, entries: []uint32{0, 1, un}})
	add("pages of the block map", build{size: 40_000*512 - 100, blockSize: 512, entries: scattered(40_000)})
	add("empty", build{size: 1 << 40, entries: slices.Repeat([]uint32{un}, 1<<20)})
	formattest.Run(t, Driver{}, cases)
	for _, c := range cases {
		if got := problems(t, formattest.Bytes(c.Image)); len(got) > 0 {
			t.Errorf("%s: check reports %v", c.Name, got)
		}
	}
}

func TestInfo(t *testing.T) {
	image, _ := filled(build{size: 3<<20 + 1, entries: []uint32{un, 0, ze, un}})
	got := openSource(t, formattest.Bytes(image)).Info()
	if got.ID != imageIDText || got.Size != 3<<20+512 || got.ClusterSize != 1<<20 || got.Allocated != formats.Unknown || got.Backing != nil {
		t.Errorf("info %+v", got)
	}
	want := "[{image_type dynamic} {version 1.1} {text <<< a test's Disk Image >>>} {description a description} {image_flags 0x0} " +
		"{block_size 1048576} {blocks_in_image 4} {blocks_allocated 1} {uuid_image " + imageIDText + "} {uuid_last_snap 00000000-0000-0000-0000-000000000000}]"
	if fmt.Sprint(got.Details) != want {
		t.Errorf("details %v, want\n%s", got.Details, want)
	}
}

// TestNeighboursAreReadAtOnce wants one read of the source for what lies together in the file.
func TestNeighboursAreReadAtOnce(t *testing.T) {
	image, disk := filled(build{size: 32 << 10, blockSize: 4096, entries: []uint32{3, 4, 5, un, un, 0, 1, 2}})
	src := &formattest.Counting{Source: formattest.Bytes(image)}
	img := openSource(t, src)
	p := make([]byte, disk.Bytes)
	if err := img.ReadAt(t.Context(), p[:512], 0); err != nil { // and with it the block map
		t.Fatal(err)
	}
	before := src.Calls()
	if err := img.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	if n := src.Calls() - before; n != 2 {
		t.Errorf("%d reads, want 2", n)
	}
}

// holey is a source of which every other 4096 bytes of the file are a hole.
type holey struct{ formattest.Bytes }

func (h holey) Allocated() int64 { return h.Size() / 2 }
func (h holey) Hole(ctx context.Context, off, n int64) (bool, int64, error) {
	return off/4096%2 == 1, min(n, 4096-off%4096), ctx.Err()
}

func TestHolesOfTheFileAreZeros(t *testing.T) {
	for imageType, want := range map[uint32]int64{typeFixed: 4096, typeDynamic: 4096} {
		image, _ := filled(build{size: 8192, blockSize: 4096, imageType: imageType, entries: []uint32{0, 1}, fields: map[int64]uint32{0x158: 4096}})
		image = append(image, make([]byte, 12288-len(image))...)
		clear(image[4096:8192])
		img := openSource(t, holey{image})
		var zero int64
		for e, err := range formats.Extents(t.Context(), img, 0, 8192) {
			if err != nil {
				t.Fatal(err)
			}
			if e.State == formats.Zero {
				zero += e.Len
			}
		}
		if zero != want {
			t.Errorf("image_type %d: %d bytes are zero, want %d", imageType, zero, want)
		}
	}
}
