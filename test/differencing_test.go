package test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"
)

// qemu-img makes no differencing VHD or VHDX. Here a dynamic disk is turned into one, by the layout
// in docs/formats/vhd.md and vhdx.md.

// The writes to the parent and to the child: some sectors of the child's first block, and all of
// another.
var (
	parentWrites = []string{"write -P 1 0 1500k", "write -P 2 3M 512", "write -P 3 4M 1M"}
	childWrites  = []string{"write -P 4 64k 3k", "write -P 5 1M 1M", "write -P 6 2M 2M"}
)

// childSectors are the sectors of 512 bytes of its first block that the child has itself.
const firstChildSector, endChildSector = 128, 134

func TestDifferencingDisks(t *testing.T) {
	for _, c := range []struct {
		name, qemu, options string
		derive              func(t *testing.T, parent, child string)
	}{
		{"vhd", "vpc", "force_size=on", deriveVHD},
		{"vhdx", "vhdx", "block_size=1M,block_state_zero=off", deriveVHDX},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			parent, child, flat := filepath.Join(dir, "parent disk"), filepath.Join(dir, "child"), filepath.Join(dir, "flat.raw")
			mustRun(t, "qemu-img", "create", "-q", "-f", c.qemu, "-o", c.options, parent, "6M")
			mustRun(t, "qemu-img", "create", "-q", "-f", c.qemu, "-o", c.options, child, "6M")
			write(t, c.qemu, parent, parentWrites)
			write(t, c.qemu, child, childWrites)
			mustRun(t, "qemu-img", "convert", "-f", c.qemu, "-O", "raw", parent, flat)
			write(t, "raw", flat, childWrites)
			c.derive(t, parent, child)
			mustRun(t, program, "compare", "-F", "raw", child, flat)
			wantWords(t, "map", mustRun(t, program, "map", child), "0x10000              0xc00                0     data", "1     data")
			wantWords(t, "info", mustRun(t, program, "info", child), "backing file: parent disk (actual path: "+parent+")")
			mustRun(t, program, "check", child)

			mustRun(t, "qemu-img", "create", "-q", "-f", c.qemu, "-o", c.options, parent, "6M")
			imsfs(t, "map", child).refused(t, "layer 1", "changed")
		})
	}
}

func write(t *testing.T, format, path string, commands []string) {
	t.Helper()
	args := []string{"-f", format}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	mustRun(t, "qemu-io", append(args, path)...)
}

// patch changes the bytes of a file.
func patch(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	must(t, err)
}

// putUTF16 writes a text in the given byte order and returns its length.
func putUTF16(b []byte, order binary.ByteOrder, text string) int {
	units := utf16.Encode([]rune(text))
	for i, u := range units {
		order.PutUint16(b[2*i:], u)
	}
	return 2 * len(units)
}

func deriveVHD(t *testing.T, parent, child string) {
	be := binary.BigEndian
	seal := func(b []byte, at int) {
		be.PutUint32(b[at:], 0)
		sum := uint32(0)
		for _, c := range b {
			sum += uint32(c)
		}
		be.PutUint32(b[at:], ^sum)
	}
	var id []byte
	patch(t, parent, func(b []byte) []byte { id = bytes.Clone(b[68:84]); return b })
	patch(t, child, func(b []byte) []byte {
		footer, header := b[len(b)-512:], b[512:1536]
		be.PutUint32(footer[60:], 4) // differencing
		seal(footer, 64)
		copy(b, footer)
		copy(header[40:], id)
		putUTF16(header[64:], be, "parent disk")
		seal(header, 36)
		bitmap := b[int(be.Uint32(b[be.Uint64(header[16:]):]))*512:][:512] // of the first block, 2 MiB
		clear(bitmap)
		for s := firstChildSector; s < 4096; s++ {
			if s < endChildSector || s >= 2048 {
				bitmap[s/8] |= 0x80 >> (s % 8)
			}
		}
		return b
	})
}

func deriveVHDX(t *testing.T, parent, child string) {
	le := binary.LittleEndian
	guid := func(b []byte) string {
		const digits = "0123456789abcdef"
		text := []byte{'{'}
		for i, at := range []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
			if i == 4 || i == 6 || i == 8 || i == 10 {
				text = append(text, '-')
			}
			text = append(text, digits[b[at]>>4], digits[b[at]&15])
		}
		return string(append(text, '}'))
	}
	var linkage string
	patch(t, parent, func(b []byte) []byte {
		header := b[64<<10:]
		if other := b[128<<10:]; le.Uint64(other[8:]) > le.Uint64(header[8:]) {
			header = other
		}
		linkage = guid(header[32:48])
		return b
	})
	patch(t, child, func(b []byte) []byte {
		bat, metadata := b[le.Uint64(b[192<<10+32:]):], b[le.Uint64(b[192<<10+64:]):]
		if string(metadata[:8]) != "metadata" {
			bat, metadata = metadata, bat
		}
		metadata[le.Uint32(metadata[32+16:])+4] |= 2 // the file parameters, the first item: has a parent
		addLocator(metadata, map[string]string{"parent_linkage": linkage, "relative_path": `.\parent disk`})
		// The first block becomes partially present. The bitmap of its chunk of 4096 blocks comes
		// at the file's end.
		le.PutUint64(bat, le.Uint64(bat)|7)
		end := (len(b) + 1<<20 - 1) >> 20 << 20
		le.PutUint64(bat[4096*8:], uint64(end)|6)
		bitmap := make([]byte, 1<<20)
		for s := firstChildSector; s < endChildSector; s++ {
			bitmap[s/8] |= 1 << (s % 8)
		}
		return append(append(b, make([]byte, end-len(b))...), bitmap...)
	})
}

// addLocator adds the item that names a parent to a metadata region of 1 MiB.
func addLocator(metadata []byte, values map[string]string) {
	le := binary.LittleEndian
	const at = 512 << 10 // in the region, in an unused part
	item := metadata[at:]
	copy(item, "\xb7\xef\x4a\xb0\x9e\xd1\x81\x4a\xb7\x89\x25\xb8\xe9\x44\x59\x13") // b04aefb7-d19e-4a81-b789-25b8e9445913
	le.PutUint16(item[18:], uint16(len(values)))
	entry, free := item[20:], 20+12*len(values)
	for key, value := range values {
		k := putUTF16(item[free:], le, key)
		v := putUTF16(item[free+k:], le, value)
		le.PutUint32(entry, uint32(free))
		le.PutUint32(entry[4:], uint32(free+k))
		le.PutUint16(entry[8:], uint16(k))
		le.PutUint16(entry[10:], uint16(v))
		entry, free = entry[12:], free+k+v
	}
	n := le.Uint16(metadata[10:])
	le.PutUint16(metadata[10:], n+1)
	row := metadata[32*(1+int(n)):]
	copy(row, "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c") // a8d35f2d-b30b-454d-abf7-d3d84834ab0c
	le.PutUint32(row[16:], at)
	le.PutUint32(row[20:], uint32(free))
	le.PutUint32(row[24:], 4) // must be understood
}
