package vmdk

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	iofs "io/fs"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// files are the files beside a descriptor, by name.
type files map[string]formats.Source

func (f files) Open(_ context.Context, name string) (formats.Source, error) {
	if src := f[name]; src != nil {
		return src, nil
	}
	return nil, fmt.Errorf("%s: %w", name, errNoFile)
}

var errNoFile = iofs.ErrNotExist

// spec is a sparse extent to be built from docs/formats/vmdk.md.
type spec struct {
	disk    formattest.Disk // of which the grains that hold something are stored
	grain   int64           // bytes
	gtes    int64           // a table
	zeroed  []int64         // grains to be marked as zeros
	version uint32
	// plainTables has directory, tables and copies of them in front, as hosted products and qemu make them; without it they
	// come behind the grains, each behind a marker, and a footer closes the file.
	plainTables bool
	compressed  bool
	short       bool   // the last grain is cut off at the disk's end before it is compressed
	descriptor  string // of an extent that has its own
}

// builder is an extent under construction.
type builder struct {
	spec
	b       []byte
	h       header
	entries map[int64]int64 // the sector of each grain that is stored, or 1
}

func (s spec) grains() int64 { return (s.disk.Bytes + s.grain - 1) / s.grain }
func (s spec) tables() int64 { return (s.grains() + s.gtes - 1) / s.gtes }

// stored lists the grains that the disk's parts touch.
func (s spec) stored() []int64 {
	var all []int64
	for _, p := range s.disk.Parts {
		for g := p.Off / s.grain; g*s.grain < p.End(); g++ {
			if len(all) == 0 || all[len(all)-1] < g {
				all = append(all, g)
			}
		}
	}
	return all
}

func (s spec) build() []byte {
	b := &builder{spec: s, b: make([]byte, sector), entries: map[int64]int64{}}
	b.h = header{
		version: max(1, s.version), flags: flagNewline, capacity: uint64(s.disk.Bytes / sector), grainSize: uint64(s.grain / sector),
		numGTEsPerGT: uint32(s.gtes), newlines: [4]byte([]byte(newlines)),
	}
	if s.compressed {
		b.h.flags |= flagCompressed | flagMarkers
		b.h.compressAlgorithm = algorithmDeflate
	}
	if s.descriptor != "" {
		b.h.descriptorOffset, b.h.descriptorSize = 1, 20
		b.b = append(b.b, s.descriptor...)
		b.pad(21)
	}
	for _, g := range s.zeroed {
		b.h.flags |= flagZeroGrain
		b.entries[g] = zeroGTE
	}
	if s.plainTables {
		b.tablesInFront()
	} else {
		b.stream()
	}
	return b.b
}

// pad fills up to a sector and returns it.
func (b *builder) pad(to int64) int64 {
	b.b = append(b.b, make([]byte, max(0, to*sector-int64(len(b.b))))...)
	return to
}

// here is the next sector.
func (b *builder) here() int64 { return b.pad((int64(len(b.b)) + sector - 1) / sector) }

func (b *builder) tablesInFront() {
	b.h.flags |= flagRedundant
	directory := (b.tables()*4 + sector - 1) / sector
	table := (b.gtes*4 + sector - 1) / sector
	room := directory + table*b.tables()
	rgd := b.here()
	gd := b.pad(rgd + room)
	grains := b.pad((gd + room + b.grain/sector - 1) / (b.grain / sector) * (b.grain / sector))
	b.h.rgdOffset, b.h.gdOffset, b.h.overHead = uint64(rgd), uint64(gd), uint64(grains)
	b.putGrains(0, b.grains())
	for _, at := range []int64{rgd, gd} {
		for j := range b.tables() {
			sec := at + directory + j*table
			binary.LittleEndian.PutUint32(b.b[at*sector+j*4:], uint32(sec))
			copy(b.b[sec*sector:], b.table(j))
		}
	}
	copy(b.b, b.h.encode())
}

func (b *builder) stream() {
	b.h.overHead = uint64(b.pad(max(b.here(), 32)))
	gd := make([]byte, b.tables()*4)
	for j := range b.tables() {
		if b.putGrains(j*b.gtes, (j+1)*b.gtes) == 0 {
			continue
		}
		b.marker(markerTable, (b.gtes*4+sector-1)/sector)
		binary.LittleEndian.PutUint32(gd[j*4:], uint32(b.here()))
		b.b = append(b.b, b.table(j)...)
	}
	b.marker(markerDirectory, (int64(len(gd))+sector-1)/sector)
	foot := b.h
	foot.gdOffset = uint64(b.here())
	b.b = append(b.b, gd...)
	b.marker(markerFooter, 1)
	b.here()
	b.b = append(b.b, foot.encode()...)
	b.marker(markerEOS, 0)
	b.h.gdOffset = gdAtEnd
	copy(b.b, b.h.encode())
}

func (b *builder) marker(kind uint32, sectors int64) {
	b.here()
	b.b = append(b.b, marker{sectors: uint64(sectors), kind: kind}.encode()...)
}

// putGrains stores the grains of [from, to) that are to be stored, and returns how many entries the table has.
func (b *builder) putGrains(from, to int64) int {
	n := 0
	for _, g := range b.stored() {
		if g < from || g >= to {
			continue
		}
		b.entries[g] = b.here()
		plain := make([]byte, b.grain)
		b.disk.Fill(plain, g*b.grain)
		if b.compressed {
			if b.short {
				plain = plain[:min(b.grain, b.disk.Bytes-g*b.grain)]
			}
			b.b = append(b.b, storedGrain(g*b.grain/sector, plain)...)
		} else {
			b.b = append(b.b, plain...)
		}
	}
	for g := range b.entries {
		if g >= from && g < to {
			n++
		}
	}
	b.here()
	return n
}

func (b *builder) table(j int64) []byte {
	t := make([]byte, b.gtes*4)
	for i := range b.gtes {
		binary.LittleEndian.PutUint32(t[i*4:], uint32(b.entries[j*b.gtes+i]))
	}
	return t
}

// storedGrain is the marker and the compressed bytes.
func storedGrain(lba int64, plain []byte) []byte {
	z := deflated(plain)
	b := binary.LittleEndian.AppendUint64(nil, uint64(lba))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(z)))
	return append(b, z...)
}

func deflated(plain []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(plain)
	z.Close()
	return b.Bytes()
}

// describe is a descriptor with these extent lines.
func describe(createType string, lines ...string) string {
	return "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"" + createType +
		"\"\n\n# Extent description\n" + strings.Join(lines, "\n") + "\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"ide\"\n"
}

// diskOf is a disk of size bytes with patterns in these ranges, offset and length by turns.
func diskOf(size int64, ranges ...int64) formattest.Disk {
	d := formattest.Disk{Bytes: size}
	for i := 0; i < len(ranges); i += 2 {
		d.Parts = append(d.Parts, formattest.Part{Off: ranges[i], Data: formattest.Pattern(ranges[i], ranges[i+1])})
	}
	return d
}

// openSource opens as the rest of the project does, through formats.Set.
func openSource(t testing.TB, src formats.Source, beside formats.Files) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{New()}}.Open(t.Context(), src, "", formats.OpenOptions{Files: beside})
	if err != nil {
		t.Fatal(err)
	}
	return img
}
