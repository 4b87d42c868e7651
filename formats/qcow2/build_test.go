package qcow2

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
)

// builder makes small images byte by byte, as docs/formats/qcow2.md describes them: header, refcount table, one refcount block,
// L1 table, one L2 table in the first five clusters, and behind them what is added.
type builder struct {
	t     testing.TB
	h     header
	image []byte
	refs  map[int64]uint16 // by cluster
	disk  formattest.Disk
}

const (
	builtTable = 1 + iota // clusters
	builtRefs
	builtL1
	builtL2
	builtData
)

// build begins an image of a disk of so many bytes, which one L2 table describes.
func build(t testing.TB, version, clusterBits uint32, incompatible uint64, size int64) *builder {
	b := &builder{t: t, refs: map[int64]uint16{}, disk: formattest.Disk{Bytes: size}}
	b.h = header{
		version: version, clusterBits: clusterBits, size: uint64(size), l1Size: 1, l1Table: builtL1 << clusterBits,
		refcountTable: builtTable << clusterBits, refcountSize: 1, incompatible: incompatible, refcountOrder: 4, length: fullHeaderSize,
	}
	if incompatible&incompatCompression != 0 {
		b.h.compressionType = compressionZstd
	}
	b.image = make([]byte, builtData<<clusterBits)
	for i := range int64(builtData) {
		b.refs[i] = 1
	}
	b.put(builtTable<<clusterBits, builtRefs<<clusterBits)
	b.put(builtL1<<clusterBits, builtL2<<clusterBits|flagCopied)
	return b
}

func (b *builder) put(off int64, v uint64) { binary.BigEndian.PutUint64(b.image[off:], v) }

func (b *builder) cluster() int64 { return 1 << b.h.clusterBits }

// entry sets the L2 entry of a cluster.
func (b *builder) entry(ci int64, descriptor, bitmap uint64) {
	at := int64(builtL2) << b.h.clusterBits
	if b.h.extended() {
		b.put(at+ci*16, descriptor)
		b.put(at+ci*16+8, bitmap)
		return
	}
	b.put(at+ci*8, descriptor)
}

// add appends a cluster to the file.
func (b *builder) add(p []byte) (off int64) {
	b.image = append(b.image, make([]byte, -int64(len(b.image))&(b.cluster()-1))...)
	off = int64(len(b.image))
	b.image = append(b.image, p...)
	b.refs[off>>b.h.clusterBits]++
	return off
}

// data stores a whole cluster of the disk.
func (b *builder) data(ci int64, p []byte) {
	off := b.add(p)
	b.entry(ci, uint64(off)|flagCopied, 1<<subclusters-1)
	b.holds(ci*b.cluster(), p)
}

// holds says what the disk must read as.
func (b *builder) holds(off int64, p []byte) {
	p = p[:min(int64(len(p)), b.disk.Bytes-off)]
	b.disk.Parts = append(b.disk.Parts, formattest.Part{Off: off, Data: p})
}

// compressed stores a whole cluster of the disk right behind what the file has.
func (b *builder) compressed(ci int64, p []byte) {
	b.packed(ci, b.encode(p))
	b.holds(ci*b.cluster(), p)
}

// packed stores the compressed bytes of a cluster.
func (b *builder) packed(ci int64, packed []byte) {
	off := int64(len(b.image))
	b.image = append(b.image, packed...)
	end := int64(len(b.image))
	sectors := uint64((end-1)/512 - off/512)
	b.entry(ci, flagCompressed|sectors<<(62-(b.h.clusterBits-8))|uint64(off), 0)
	for cluster := off >> b.h.clusterBits; cluster<<b.h.clusterBits < (end+511)&^511; cluster++ {
		b.refs[cluster]++
	}
}

func (b *builder) encode(p []byte) []byte {
	if b.h.compressionType == compressionZstd {
		z, err := codec.NewZstdEncoder(0, len(p))
		if err != nil {
			b.t.Fatal(err)
		}
		return z.Encode(nil, p)
	}
	return deflated(b.t, p)
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

// bytes returns the image, with its header and refcounts.
func (b *builder) bytes() []byte {
	h := b.h.encode()
	if b.h.version == 2 {
		h = h[:v2HeaderSize]
	}
	copy(b.image, h)
	for cluster, n := range b.refs {
		binary.BigEndian.PutUint16(b.image[builtRefs<<b.h.clusterBits+cluster*2:], n)
	}
	return b.image
}

// pattern is n bytes in which each sector names itself.
func pattern(seed, n int64) []byte {
	p := make([]byte, 0, n+64)
	for int64(len(p)) < n {
		p = fmt.Appendf(p, "byte %d of %d\n", len(p), seed)
	}
	return p[:n]
}

func newDriver() *Driver { return New(codec.NewZstd()) }
