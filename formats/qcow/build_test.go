package qcow

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func put64(b []byte, off int, v uint64) { binary.BigEndian.PutUint64(b[off:], v) }

// builder makes images byte by byte, as docs/formats/qcow.md describes them.
type builder struct {
	t     testing.TB
	h     header
	image []byte
	disk  formattest.Disk
}

func build(t testing.TB, clusterBits, l2Bits uint8, size int64) *builder {
	b := &builder{t: t, disk: formattest.Disk{Bytes: size}}
	b.h = header{size: uint64(size), clusterBits: clusterBits, l2Bits: l2Bits, l1Table: headerSize}
	b.image = make([]byte, headerSize+b.h.l1Entries()*8)
	put64(b.image, 0, magic<<32|version)
	put64(b.image, offSize, b.h.size)
	b.image[offClusterBits], b.image[offL2Bits] = clusterBits, l2Bits
	put64(b.image, offL1Table, headerSize)
	return b
}

// add appends to the file, at a multiple of the cluster size.
func (b *builder) add(p []byte) (off int64) {
	b.image = append(b.image, make([]byte, -int64(len(b.image))&(b.h.cluster()-1))...)
	off = int64(len(b.image))
	b.image = append(b.image, p...)
	return off
}

// entry sets the L2 entry of a cluster of the disk.
func (b *builder) entry(ci int64, e uint64) {
	b.t.Helper()
	at := int(headerSize + ci*b.h.cluster()/b.h.l2Span()*8)
	l2 := int64(binary.BigEndian.Uint64(b.image[at:]))
	if l2 == 0 {
		l2 = b.add(make([]byte, b.h.l2Size()))
		put64(b.image, at, uint64(l2))
	}
	put64(b.image, int(l2+ci%(1<<b.h.l2Bits)*8), e)
}

func (b *builder) holds(ci int64, p []byte) {
	off := ci * b.h.cluster()
	b.disk.Parts = append(b.disk.Parts, formattest.Part{Off: off, Data: p[:min(int64(len(p)), b.disk.Bytes-off)]})
}

func (b *builder) data(ci int64, p []byte) {
	b.entry(ci, 0)
	b.entry(ci, uint64(b.add(p)))
	b.holds(ci, p)
}

func (b *builder) compressed(ci int64, p []byte) {
	b.packed(ci, deflated(b.t, p))
	b.holds(ci, p)
}

// packed stores the compressed bytes of a cluster behind all there is.
func (b *builder) packed(ci int64, p []byte) {
	b.entry(ci, 0)
	b.entry(ci, flagCompressed|uint64(len(p))<<(63-b.h.clusterBits)|uint64(len(b.image)))
	b.image = append(b.image, p...)
}

func deflated(t testing.TB, p []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, 6)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(p)
	w.Close()
	return packed.Bytes()
}

// pattern is n bytes that name themselves.
func pattern(seed, n int64) []byte {
	p := make([]byte, 0, n+64)
	for int64(len(p)) < n {
		p = fmt.Appendf(p, "byte %d of %d\n", len(p), seed)
	}
	return p[:n]
}

func noise(seed, n int64) []byte {
	rnd := rand.New(rand.NewPCG(uint64(seed), 3))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// checkImage lists what is wrong with an image.
func checkImage(t testing.TB, src formats.Source) (damage, leaks []formats.Problem) {
	t.Helper()
	for _, p := range formattest.Problems(t, New(), src, formats.OpenOptions{}) {
		if p.Leak {
			leaks = append(leaks, p)
		} else {
			damage = append(damage, p)
		}
	}
	return damage, leaks
}
