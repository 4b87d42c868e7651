package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// maxFuzzDisk bounds the disks of which all extents are walked.
const maxFuzzDisk = 1 << 30

// resealed makes the checksums of footers and header right where the cookies stand, or the fuzzer would hardly get past them.
func resealed(image []byte) []byte {
	image = bytes.Clone(image)
	sign := func(at, size int, cookie string, sumAt int) {
		if at < 0 || at+size > len(image) || !bytes.HasPrefix(image[at:], []byte(cookie)) {
			return
		}
		b := image[at : at+size]
		binary.BigEndian.PutUint32(b[sumAt:], checksum(b, sumAt))
	}
	sign(512, headerSize, headerCookie, headerSumAt)
	sign(0, footerSize, footerCookie, footerSumAt)
	sign(len(image)-footerSize, footerSize, footerCookie, footerSumAt)
	return image
}

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors
// must be of a kind that callers know.
func FuzzOpen(f *testing.F) {
	alone := small()
	alone.size, alone.blocks = 512, nil
	for _, b := range []*builder{small(), child(), fixedDisk(2048), alone, {kind: typeDynamic, size: 1 << 20, blockSize: 512, blocks: []block{patterned(77, 512)}}} {
		image := b.build()
		f.Add(image, true)
		f.Add(image[:len(image)-1], true)
		f.Add(image[:len(image)*2/3], true)
		f.Add(image, false)
	}
	f.Add(withBatmap(), true)
	f.Fuzz(func(t *testing.T, image []byte, seal bool) {
		if seal {
			image = resealed(image)
		}
		src := formattest.Bytes(image)
		damage := 0
		err := Driver{}.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) {
			if !p.Leak {
				damage++
			}
		})
		wantKnown(t, err)
		img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, name, formats.OpenOptions{})
		wantKnown(t, err)
		if err != nil {
			return
		}
		if bad := readEverywhere(t, img); bad && damage == 0 {
			t.Error("a read failed in a file in which check finds nothing wrong")
		}
	})
}

// readEverywhere reads at both ends of each extent and tells whether anything failed. An extent that cannot be had is
// stepped over, a block at a time.
func readEverywhere(t *testing.T, img formats.Image) (failed bool) {
	info := img.Info()
	size := min(info.Size, maxFuzzDisk)
	for off, seen := int64(0), 0; off < size && seen < 50; seen++ {
		e, err := img.Extent(t.Context(), off, size-off)
		wantKnown(t, err)
		if err != nil {
			failed = true
			off = (off/info.ClusterSize + 1) * info.ClusterSize
			continue
		}
		for _, at := range []int64{e.Off, e.End() - 1} {
			p := []byte{0xDB}
			err := img.ReadAt(t.Context(), p, at)
			wantKnown(t, err)
			if err != nil || e.State != formats.Data && p[0] != 0 {
				t.Errorf("%v: %x at %d, %v", e, p, at, err)
			}
		}
		off = e.End()
	}
	return failed
}

func wantKnown(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, formats.ErrCorrupt) && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an error of no known kind: %v", err)
	}
}
