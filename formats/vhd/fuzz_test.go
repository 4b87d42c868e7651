package vhd

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

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
		formattest.Hostile(t, Driver{}, formattest.Bytes(image), formats.OpenOptions{})
	})
}
