// Package content recognises the contents of a slice of a disk by their signatures: file systems,
// swap, encryption, members of volume managers. It names more kinds than drivers can read, so that
// unread contents are reported by name and not as empty.
package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
)

// Kind is the use of a slice's contents.
type Kind string

const (
	// FileSystem has files.
	FileSystem Kind = "filesystem"
	// Encrypted needs a key.
	Encrypted Kind = "encrypted"
	// Member is a part of a volume manager's volumes.
	Member Kind = "member"
	// Swap has pages of memory.
	Swap Kind = "swap"
)

// Content is a recognised signature.
type Content struct {
	Type        string // as blkid says it: "ext4", "crypto_LUKS", "LVM2_member"
	Kind        Kind
	Label, UUID string // "" if there is none
}

// The two parts of a slice that signatures are in.
const (
	headSize  = 16 << 10
	upperOff  = 32 << 10
	upperSize = 36 << 10
)

// Find returns the contents of src in the order of their places. Several are possible: a hybrid
// disk image is an ISO 9660 file system and a FAT one. It makes two requests.
func Find(ctx context.Context, src disk.Source) ([]Content, error) {
	v := view{size: src.Size()}
	var err error
	if v.head, err = part(ctx, src, 0, headSize); err != nil {
		return nil, err
	}
	if v.upper, err = part(ctx, src, upperOff, upperSize); err != nil {
		return nil, err
	}
	var list []Content
	for _, find := range []func(view) (Content, bool){
		luks, bitLocker, physicalVolume, mdHead, swap, ext, xfs, ntfs, exfat, fat, squashfs, erofs, f2fs, bcachefs,
		apfs, hfs, dynamicDisk, refs, iso, udf, btrfs, ufs,
	} {
		if c, ok := find(v); ok {
			list = append(list, c)
		}
	}
	return list, nil
}

// view is the beginning of a slice.
type view struct {
	head, upper []byte // upper begins at upperOff
	size        int64
}

// part reads as much of a range as there is.
func part(ctx context.Context, src disk.Source, off, n int64) ([]byte, error) {
	n = min(n, src.Size()-off)
	if n <= 0 {
		return nil, nil
	}
	p := make([]byte, n)
	return p, src.ReadMeta(ctx, p, off)
}

// at returns n bytes at off; zeros where the view ends.
func (v view) at(off, n int) []byte {
	p := make([]byte, n)
	if off >= upperOff {
		if off -= upperOff; off < len(v.upper) {
			copy(p, v.upper[off:])
		}
	} else if off < len(v.head) {
		copy(p, v.head[off:])
	}
	return p
}

func (v view) has(off int, magic string) bool { return string(v.at(off, len(magic))) == magic }

func (v view) le16(off int) uint16 { return binary.LittleEndian.Uint16(v.at(off, 2)) }
func (v view) le32(off int) uint32 { return binary.LittleEndian.Uint32(v.at(off, 4)) }

// text returns a label: the bytes before the first NUL, without spaces at the end.
func (v view) text(off, n int) string {
	p, _, _ := bytes.Cut(v.at(off, n), []byte{0})
	return strings.TrimRight(string(p), " ")
}

// uuid returns 16 bytes as a UUID, or "" if they are all zeros.
func (v view) uuid(off int) string {
	p := v.at(off, 16)
	if bytes.Equal(p, make([]byte, 16)) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:])
}

func (v view) serial(off int) string {
	return fmt.Sprintf("%04X-%04X", v.le16(off+2), v.le16(off))
}

func luks(v view) (Content, bool) {
	c := Content{Type: "crypto_LUKS", Kind: Encrypted, UUID: v.text(168, 40)}
	if v.at(6, 2)[1] == 2 {
		c.Label = v.text(24, 48)
	}
	return c, v.has(0, "LUKS\xba\xbe")
}

func bitLocker(v view) (Content, bool) {
	return Content{Type: "BitLocker", Kind: Encrypted}, v.has(3, "-FVE-FS-")
}

func physicalVolume(v view) (Content, bool) {
	for sector := 0; sector < 2048; sector += 512 {
		if v.has(sector, "LABELONE") && v.has(sector+24, "LVM2 001") {
			id := v.text(sector+32, 32)
			if len(id) == 32 {
				id = strings.Join([]string{id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:]}, "-")
			}
			return Content{Type: "LVM2_member", Kind: Member, UUID: id}, true
		}
	}
	return Content{}, false
}

const mdMagic = 0xa92b4efc

func mdHead(v view) (Content, bool) {
	for _, off := range []int{0, 4096} {
		if v.le32(off) == mdMagic && v.le32(off+4) == 1 {
			return Content{Type: "linux_raid_member", Kind: Member, UUID: v.uuid(off + 16), Label: v.text(off+32, 32)}, true
		}
	}
	return Content{}, false
}

// FindAtEnd returns the md superblocks at the end of a slice, of versions 0.90 and 1.0. It makes
// one request.
func FindAtEnd(ctx context.Context, src disk.Source) ([]Content, error) {
	size := src.Size()
	if size < 256<<10 {
		return nil, nil
	}
	from := size&^0xffff - 64<<10
	p, err := part(ctx, src, from, size-from)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(p) == mdMagic {
		return []Content{{Type: "linux_raid_member", Kind: Member}}, nil
	}
	if off := (size/512-16)&^7*512 - from; off >= 0 && off+4 <= int64(len(p)) && binary.LittleEndian.Uint32(p[off:]) == mdMagic {
		v := view{head: p[off:]}
		return []Content{{Type: "linux_raid_member", Kind: Member, UUID: v.uuid(16), Label: v.text(32, 32)}}, nil
	}
	return nil, nil
}

func swap(v view) (Content, bool) {
	for _, page := range []int{4096, 8192, 16384, 65536} {
		if v.has(page-10, "SWAPSPACE2") || v.has(page-10, "SWAP-SPACE") {
			return Content{Type: "swap", Kind: Swap, UUID: v.uuid(1036), Label: v.text(1052, 16)}, true
		}
	}
	return Content{}, false
}

func ext(v view) (Content, bool) {
	const (
		journal     = 0x4
		onlyExt3    = 0x1 | 0x2 | 0x4
		onlyExt3Inc = 0x2 | 0x4 | 0x10
	)
	compat, incompat, ro := v.le32(1024+92), v.le32(1024+96), v.le32(1024+100)
	kind := "ext4"
	if incompat&^uint32(onlyExt3Inc) == 0 && ro&^uint32(onlyExt3) == 0 {
		kind = "ext2"
		if compat&journal != 0 {
			kind = "ext3"
		}
	}
	return Content{Type: kind, Kind: FileSystem, UUID: v.uuid(1024 + 104), Label: v.text(1024+120, 16)}, v.le16(1024+56) == 0xef53
}

func xfs(v view) (Content, bool) {
	return Content{Type: "xfs", Kind: FileSystem, UUID: v.uuid(32), Label: v.text(108, 12)}, v.has(0, "XFSB")
}

func ntfs(v view) (Content, bool) {
	id := v.at(72, 8)
	for i := range 4 {
		id[i], id[7-i] = id[7-i], id[i]
	}
	return Content{Type: "ntfs", Kind: FileSystem, UUID: strings.ToUpper(hex.EncodeToString(id))}, v.has(3, "NTFS    ")
}

func exfat(v view) (Content, bool) {
	return Content{Type: "exfat", Kind: FileSystem, UUID: v.serial(100)}, v.has(3, "EXFAT   ")
}

func fat(v view) (Content, bool) {
	c := Content{Type: "vfat", Kind: FileSystem}
	switch {
	case !v.has(510, "\x55\xaa"):
		return c, false
	case v.has(82, "FAT32   "):
		c.UUID, c.Label = v.serial(67), v.text(71, 11)
	case v.has(54, "FAT12   "), v.has(54, "FAT16   "), v.has(54, "FAT     "):
		c.UUID, c.Label = v.serial(39), v.text(43, 11)
	default:
		return c, false
	}
	if c.Label == "NO NAME" {
		c.Label = ""
	}
	return c, true
}

func squashfs(v view) (Content, bool) {
	return Content{Type: "squashfs", Kind: FileSystem}, v.has(0, "hsqs")
}

func erofs(v view) (Content, bool) {
	return Content{Type: "erofs", Kind: FileSystem, UUID: v.uuid(1024 + 48), Label: v.text(1024+64, 16)}, v.le32(1024) == 0xe0f5e1e2
}

func f2fs(v view) (Content, bool) {
	return Content{Type: "f2fs", Kind: FileSystem, UUID: v.uuid(1024 + 108)}, v.le32(1024) == 0xf2f52010
}

func bcachefs(v view) (Content, bool) {
	magic := "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
	return Content{Type: "bcachefs", Kind: FileSystem, UUID: v.uuid(4096 + 56)}, v.has(4096+24, magic)
}

func apfs(v view) (Content, bool) {
	return Content{Type: "apfs", Kind: FileSystem, UUID: v.uuid(72)}, v.has(32, "NXSB")
}

func hfs(v view) (Content, bool) {
	switch {
	case v.has(1024, "H+\x00\x04"), v.has(1024, "HX\x00\x05"):
		return Content{Type: "hfsplus", Kind: FileSystem}, true
	case v.has(1024, "BD") && v.has(1024+0x14, "\x00"):
		return Content{Type: "hfs", Kind: FileSystem}, true
	}
	return Content{}, false
}

func dynamicDisk(v view) (Content, bool) {
	return Content{Type: "ldm", Kind: Member}, v.has(0xc00, "PRIVHEAD")
}

func refs(v view) (Content, bool) {
	return Content{Type: "refs", Kind: FileSystem}, v.has(3, "ReFS\x00\x00\x00\x00")
}

func iso(v view) (Content, bool) {
	return Content{Type: "iso9660", Kind: FileSystem, Label: v.text(upperOff+40, 32)}, v.has(upperOff+1, "CD001")
}

func udf(v view) (Content, bool) {
	found := false
	for off := upperOff; off < upperOff+upperSize-2048; off += 2048 {
		found = found || v.has(off+1, "NSR02") || v.has(off+1, "NSR03")
	}
	return Content{Type: "udf", Kind: FileSystem}, found
}

func btrfs(v view) (Content, bool) {
	return Content{Type: "btrfs", Kind: FileSystem, UUID: v.uuid(65536 + 32), Label: v.text(65536+0x12b, 256)}, v.has(65536+64, "_BHRfS_M")
}

func ufs(v view) (Content, bool) {
	return Content{Type: "ufs", Kind: FileSystem}, v.le32(65536+1372) == 0x19540119 || v.le32(8192+1372) == 0x00011954
}
