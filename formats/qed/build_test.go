package qed

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// build is a QED file to be made: a header of one cluster, the L1 table, and then L2 tables and data as they are needed.
type build struct {
	size               int64
	cluster, tableSize int64            // 0 is 4096 and 1
	data               []int64          // clusters of the disk that are data, in the order of the file
	zero               []int64          // clusters of the disk that are zeros
	backing            string           // file name
	features           uint64           // beside featureBackingFile
	put                map[int64]uint64 // 8 bytes each, last
}

const l1At = 4096 // with the usual cluster size

// image makes the file, and the disk that it must read as without its backing file.
func (b build) image() ([]byte, formattest.Disk) {
	if b.cluster == 0 {
		b.cluster = 4096
	}
	if b.tableSize == 0 {
		b.tableSize = 1
	}
	le := binary.LittleEndian
	table := b.tableSize * b.cluster
	out := make([]byte, b.cluster+table)
	copy(out, "QED\x00")
	le.PutUint32(out[4:], uint32(b.cluster))
	le.PutUint32(out[8:], uint32(b.tableSize))
	le.PutUint32(out[12:], 1)
	le.PutUint64(out[40:], uint64(b.cluster))
	le.PutUint64(out[48:], uint64(b.size))
	if b.backing != "" {
		b.features |= 1
		copy(out[100:], b.backing)
		le.PutUint32(out[56:], 100)
		le.PutUint32(out[60:], uint32(len(b.backing)))
	}
	le.PutUint64(out[16:], b.features)
	set := func(ci int64, entry uint64) {
		l1 := out[b.cluster+ci/(table/8)*8:]
		if le.Uint64(l1) == 0 {
			le.PutUint64(l1, uint64(len(out)))
			out = append(out, make([]byte, table)...)
		}
		l2 := int64(le.Uint64(out[b.cluster+ci/(table/8)*8:]))
		if entry == 0 {
			entry = uint64(len(out))
		}
		le.PutUint64(out[l2+ci%(table/8)*8:], entry)
	}
	disk := formattest.Disk{Bytes: b.size}
	for _, ci := range b.zero {
		set(ci, 1)
	}
	for _, ci := range b.data {
		set(ci, 0)
		p := formattest.Pattern(ci*b.cluster, b.cluster)
		out = append(out, p...)
		disk.Parts = append(disk.Parts, formattest.Part{Off: ci * b.cluster, Data: p[:min(b.cluster, b.size-ci*b.cluster)]})
	}
	slices.SortFunc(disk.Parts, func(a, b formattest.Part) int { return int(a.Off - b.Off) })
	for at, v := range b.put {
		le.PutUint64(out[at:], v)
	}
	return out, disk
}

func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, name, formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func problems(t testing.TB, src formats.Source) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, Driver{}, src, formats.OpenOptions{})
}
