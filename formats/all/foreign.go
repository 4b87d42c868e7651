package all

import "github.com/imsfs/imsfs/formats"

// foreign lists contents that must not be served as raw disks by mistake: disk image formats
// without a driver, and containers that should have been unpacked. A format moves from here to the
// drivers once one reads it. Squashfs and its like are not listed, because they are disks by
// themselves: their file system needs no partition table.
func foreign() []formats.Signature {
	return []formats.Signature{
		// Disk images.
		{Name: "Parallels", Off: 0, Magic: "WithoutFreeSpace"},
		{Name: "Parallels (extended)", Off: 0, Magic: "WithouFreSpacExt"},
		{Name: "DMG", Off: -512, Magic: "koly"},
		{Name: "EWF", Off: 0, Magic: "EVF\x09\x0d\x0a\xff\x00"},
		{Name: "WIM", Off: 0, Magic: "MSWIM\x00\x00\x00"},
		{Name: "Android sparse", Off: 0, Magic: "\x3a\xff\x26\xed"},
		{Name: "LUKS (encrypted)", Off: 0, Magic: "LUKS\xba\xbe"},
		// Containers. bzip2 is known by its first block, because its own three letters are too
		// common.
		{Name: "gzip", Off: 0, Magic: "\x1f\x8b\x08"},
		{Name: "xz", Off: 0, Magic: "\xfd7zXZ\x00"},
		{Name: "zstd", Off: 0, Magic: "\x28\xb5\x2f\xfd"},
		{Name: "bzip2", Off: 4, Magic: "1AY&SY"},
		{Name: "lz4", Off: 0, Magic: "\x04\x22\x4d\x18"},
		{Name: "lzop", Off: 0, Magic: "\x89LZO\x00\x0d\x0a\x1a\x0a"},
		{Name: "7z", Off: 0, Magic: "7z\xbc\xaf\x27\x1c"},
		{Name: "zip", Off: 0, Magic: "PK\x03\x04"},
		{Name: "rar", Off: 0, Magic: "Rar!\x1a\x07"},
		{Name: "tar (an OVA, perhaps)", Off: 257, Magic: "ustar"},
	}
}
