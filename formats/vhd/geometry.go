package vhd

import "fmt"

// geometry is a disk as old BIOSes address it.
type geometry struct {
	cylinders      uint16
	heads, sectors uint8 // heads of a cylinder, sectors of a track
}

// largest is the geometry of disks that have more sectors than any.
var largest = geometry{cylinders: 65535, heads: 16, sectors: 255}

func (g geometry) String() string { return fmt.Sprintf("%d/%d/%d", g.cylinders, g.heads, g.sectors) }

// bytes is the size of a disk that has just this geometry.
func (g geometry) bytes() uint64 {
	return uint64(g.cylinders) * uint64(g.heads) * uint64(g.sectors) * sectorSize
}

// The two rules for the size of a disk.
const (
	byGeometry    = "geometry"
	byCurrentSize = "current_size"
)

// sizeRule returns the field that has the disk's size. Guests of the Virtual family saw no more
// than the geometry spans, and qemu writes its images in the same way; all others mean the bytes in
// the footer. The largest geometry says nothing, because larger disks have it too.
func (f *footer) sizeRule() string {
	if f.geometry.bytes() == largest.bytes() {
		return byCurrentSize
	}
	switch string(f.creatorApp[:]) {
	case "vpc ", "vs  ", "qemu":
		return byGeometry
	}
	return byCurrentSize
}

// size is the disk's, in whole sectors.
func (f *footer) size() uint64 {
	if f.sizeRule() == byGeometry {
		return f.geometry.bytes()
	}
	return f.currentSize &^ (sectorSize - 1)
}

// geometryOf is the geometry for a disk of size bytes by the specification's appendix "CHS
// calculation". It may span a little less than the disk.
func geometryOf(size int64) geometry {
	sectors := uint64(min(size/sectorSize, int64(largest.bytes()/sectorSize)))
	if sectors >= 65535*16*63 {
		return geometry{uint16(sectors / 255 / 16), 16, 255}
	}
	perTrack, tracks := uint64(17), sectors/17
	heads := max(4, (tracks+1023)/1024)
	if tracks >= heads*1024 || heads > 16 {
		perTrack, heads, tracks = 31, 16, sectors/31
	}
	if tracks >= heads*1024 {
		perTrack, heads, tracks = 63, 16, sectors/63
	}
	return geometry{uint16(tracks / heads), uint8(heads), uint8(perTrack)}
}
