package qcow2

import (
	"bytes"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
)

// Types of header extensions that are read. Others are ignored.
const (
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extFeatureNames  = 0x6803f857
	extBitmaps       = 0x23852875
	extDataFile      = 0x44415441
)

const (
	extHeaderSize    = 8
	featureNameSize  = 48
	bitmapsExtSize   = 24
	maxBackingFormat = 15
)

// extensions are what follows the header in the first cluster.
type extensions struct {
	backing       string // name of the backing file, "" for none
	backingFormat string // in QEMU's words, "" if it is not told
	dataFile      string
	features      map[int]string // names of incompatible features by bit
	bitmaps       bitmapsExtension
}

// bitmapsExtension says where the bitmaps are.
type bitmapsExtension struct {
	count     uint32
	size, off uint64 // of the directory
}

// decodeExtensions reads the extensions in the first cluster. This comes before the header is
// verified, because they name its unknown features.
func decodeExtensions(first []byte, h *header) (extensions, error) {
	var ext extensions
	end := int64(len(first))
	if h.backingOffset != 0 && h.backingSize != 0 {
		if !inside(h.backingOffset, uint64(h.backingSize), uint64(len(first))) {
			return ext, corrupt(offBackingOffset, "header: the backing file's name, %d bytes at %#x, must lie within the first cluster and the file", h.backingSize, h.backingOffset)
		}
		end = int64(h.backingOffset)
		ext.backing = string(first[end : end+int64(h.backingSize)])
	}
	for at := int64(h.length); at+extHeaderSize <= end; {
		kind := binary.BigEndian.Uint32(first[at:])
		size := int64(binary.BigEndian.Uint32(first[at+4:]))
		body := at + extHeaderSize
		switch {
		case kind == extEnd:
			return ext, nil
		case size > end-body:
			return ext, corrupt(at, "header extension %#x: its length is %d, must be within the %d bytes up to the backing file's name or the cluster's end", kind, size, end-body)
		}
		if err := ext.add(kind, first[body:body+size], at); err != nil {
			return ext, err
		}
		at = body + (size+7)&^7
	}
	return ext, nil
}

// add takes in the extension at an offset.
func (e *extensions) add(kind uint32, body []byte, at int64) error {
	switch kind {
	case extBackingFormat:
		if len(body) > maxBackingFormat {
			return corrupt(at, "backing file format: the name has %d bytes, must have at most %d", len(body), maxBackingFormat)
		}
		e.backingFormat = string(body)
	case extDataFile:
		e.dataFile = string(body)
	case extFeatureNames:
		e.features = featureNames(body)
	case extBitmaps:
		if len(body) != bitmapsExtSize {
			return corrupt(at, "bitmaps extension: it has %d bytes, must have %d", len(body), bitmapsExtSize)
		}
		e.bitmaps = bitmapsExtension{
			count: binary.BigEndian.Uint32(body),
			size:  binary.BigEndian.Uint64(body[8:]),
			off:   binary.BigEndian.Uint64(body[16:]),
		}
	}
	return nil
}

// featureNames reads the names of incompatible features from a feature name table.
func featureNames(table []byte) map[int]string {
	names := map[int]string{}
	for ; len(table) >= featureNameSize; table = table[featureNameSize:] {
		if kind, bit := table[0], int(table[1]); kind == 0 && bit < 64 {
			text, _, _ := bytes.Cut(table[2:featureNameSize], []byte{0})
			names[bit] = string(text)
		}
	}
	return names
}

// backingInfo returns the name of the backing image; nil if there is none.
func (e *extensions) backingInfo() *formats.Backing {
	if e.backing == "" {
		return nil
	}
	return &formats.Backing{Paths: []string{e.backing}, Format: e.backingFormat}
}
