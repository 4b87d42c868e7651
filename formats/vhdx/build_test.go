package vhdx

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// Where the builder puts things.
const (
	builtLog      = 1 * mib
	builtMetadata = 2 * mib
	builtBAT      = 3 * mib
	builtBlocks   = 4 * mib
)

// block is a payload block of a disk to be built.
type block struct {
	state   int
	present []formattest.Range // of bytes of the block: those that its sector bitmap has, if it is partially present
}

// disk is a disk to be built as docs/formats/vhdx.md says. Payload is pattern.
type disk struct {
	size, blockSize, sector int64
	blocks                  map[int64]block
	locator                 map[string]string // nil without a parent
}

// file is a VHDX under construction.
type file struct {
	b  []byte
	at map[int64]int64 // where each payload block lies
	g  geometry
}

var le = binary.LittleEndian

var testGUID = guid{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func mustGUID(text string) guid {
	g, ok := parseGUID(text)
	if !ok {
		panic("no GUID: " + text)
	}
	return g
}

func (d disk) build() *file {
	f := &file{at: map[int64]int64{}, g: geometry{d.size, d.blockSize, d.sector, d.locator != nil}}
	room := int64(builtBlocks + 3*mib)
	for _, b := range d.blocks {
		if entry(b.state).present() {
			room += d.blockSize + mib
		}
	}
	f.b = make([]byte, builtBlocks, room)
	copy(f.b, identifier)
	copy(f.b[8:], utf16Bytes("a test"))
	for i, at := range headerAt {
		h := f.b[at:]
		copy(h, "head")
		le.PutUint64(h[8:], 7+uint64(i))
		copy(h[32:], testGUID[:])
		le.PutUint16(h[66:], 1)
		le.PutUint32(h[68:], mib)
		le.PutUint64(h[72:], builtLog)
	}
	f.regions(region{batRegion, builtBAT, mib, true}, region{metadataRegion, builtMetadata, mib, true})
	f.metadata(d.items()...)
	for _, n := range slices.Sorted(maps.Keys(d.blocks)) {
		f.put(n, d.blocks[n])
	}
	f.seal()
	return f
}

// clone is a copy to be damaged.
func (f *file) clone() *file { return &file{bytes.Clone(f.b), f.at, f.g} }

// copies gives the same file again and again, in memory that is used anew each time.
func (f *file) copies() func() *file {
	b := bytes.Clone(f.b)
	return func() *file {
		copy(b, f.b)
		return &file{b[:len(b):len(b)], f.at, f.g}
	}
}

// region is an entry of the region table.
type region struct {
	id       string
	off      uint64
	length   uint32
	required bool
}

func (f *file) regions(list ...region) {
	for _, at := range tableAt {
		t := f.b[at:][:tableSize]
		clear(t)
		copy(t, "regi")
		le.PutUint32(t[8:], uint32(len(list)))
		for i, r := range list {
			e, id := t[16+32*i:], mustGUID(r.id)
			copy(e, id[:])
			le.PutUint64(e[16:], r.off)
			le.PutUint32(e[24:], r.length)
			if r.required {
				e[28] = 1
			}
		}
	}
	f.seal()
}

// metaItem is a metadata item; flags are 1 for the user's, 2 for the disk's, 4 for required ones.
type metaItem struct {
	id    string
	flags uint32
	data  []byte
}

func (d disk) items() []metaItem {
	params := le.AppendUint64(nil, uint64(d.blockSize))
	if d.locator != nil {
		params[4] = 2
	}
	items := []metaItem{
		{fileParameters, 4, params},
		{virtualDiskSize, 6, le.AppendUint64(nil, uint64(d.size))},
		{virtualDiskID, 6, testGUID[:]},
		{logicalSectorSize, 6, le.AppendUint32(nil, uint32(d.sector))},
		{physicalSectorSize, 6, le.AppendUint32(nil, 4096)},
	}
	if d.locator != nil {
		items = append(items, metaItem{parentLocator, 4, locatorBytes(vhdxLocator, d.locator)})
	}
	return items
}

func (f *file) metadata(items ...metaItem) {
	m := f.b[builtMetadata:][:mib]
	clear(m)
	copy(m, "metadata")
	le.PutUint16(m[10:], uint16(len(items)))
	at := tableSize
	for i, it := range items {
		e, id := m[32*(i+1):], mustGUID(it.id)
		copy(e, id[:])
		le.PutUint32(e[16:], uint32(at))
		le.PutUint32(e[20:], uint32(len(it.data)))
		le.PutUint32(e[24:], it.flags)
		at += copy(m[at:], it.data)
	}
}

// put appends a payload block, and its sector bitmap block if that is missing, and writes their entries.
func (f *file) put(n int64, b block) {
	if b.state != fullyPresent && b.state != partiallyPresent {
		f.entry(f.g.index(n), uint64(b.state))
		return
	}
	if b.state == partiallyPresent {
		f.bitmap(n, b.present)
	}
	f.at[n] = int64(len(f.b))
	f.entry(f.g.index(n), uint64(len(f.b))|uint64(b.state))
	f.b = append(f.b, formattest.Pattern(n*f.g.blockSize, f.g.used(n))...)
	f.b = f.b[:f.at[n]+f.g.blockSize]
}

func (f *file) bitmap(n int64, present []formattest.Range) {
	index := f.g.bitmapIndex(n)
	e := entry(le.Uint64(f.b[builtBAT+index*8:]))
	if e == 0 {
		e = entry(len(f.b) | fullyPresent)
		f.entry(index, uint64(e))
		f.b = append(f.b, make([]byte, mib)...)
	}
	bits := f.b[e.offset():]
	for _, r := range present {
		for s := r.Off / f.g.sector; s < r.End/f.g.sector; s++ {
			bit := n%f.g.ratio()*f.g.blockSize/f.g.sector + s
			bits[bit/8] |= 1 << (bit % 8)
		}
	}
}

func (f *file) entry(index int64, e uint64) { le.PutUint64(f.b[builtBAT+index*8:], e) }

// header changes both headers.
func (f *file) header(change func(h []byte)) {
	for _, at := range headerAt {
		change(f.b[at:][:headerSize])
	}
	f.seal()
}

// seal makes the checksums of headers and region tables right.
func (f *file) seal() {
	for i := range 2 {
		h, t := f.b[headerAt[i]:][:headerSize], f.b[tableAt[i]:][:tableSize]
		le.PutUint32(h[4:], checksum(h))
		le.PutUint32(t[4:], checksum(t))
	}
}

func locatorBytes(kind string, values map[string]string) []byte {
	id := mustGUID(kind)
	b := append([]byte{}, id[:]...)
	b = le.AppendUint32(b, uint32(len(values))<<16)
	at := len(b) + 12*len(values)
	var text []byte
	for _, key := range slices.Sorted(maps.Keys(values)) {
		k, v := utf16Bytes(key), utf16Bytes(values[key])
		b = le.AppendUint32(b, uint32(at))
		b = le.AppendUint32(b, uint32(at+len(k)))
		b = le.AppendUint16(b, uint16(len(k)))
		b = le.AppendUint16(b, uint16(len(v)))
		at += len(k) + len(v)
		text = append(append(text, k...), v...)
	}
	return append(b, text...)
}

func utf16Bytes(text string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = le.AppendUint16(b, u)
	}
	return b
}

// model is what a built disk reads as.
func (d disk) model() formattest.Disk {
	m := formattest.Disk{Bytes: d.size}
	for _, n := range slices.Sorted(maps.Keys(d.blocks)) {
		b := d.blocks[n]
		end := min(d.size, (n+1)*d.blockSize)
		present := b.present
		if b.state == fullyPresent {
			present = []formattest.Range{{Off: 0, End: d.blockSize}}
		}
		for _, r := range present {
			off, to := n*d.blockSize+r.Off, min(n*d.blockSize+r.End, end)
			m.Parts = append(m.Parts, formattest.Part{Off: off, Data: formattest.Pattern(off, to-off)})
		}
	}
	return m
}

// openSource opens as the rest of the project does, through formats.Set.
func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, "", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// extents lists an image's, joined.
func extents(t testing.TB, img formats.Image) []formats.Extent {
	t.Helper()
	var all []formats.Extent
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
