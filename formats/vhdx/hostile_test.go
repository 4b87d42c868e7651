package vhdx

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

const unknownGUID = "11111111-2222-3333-4444-555555555555"

// header16 and the like change one field of both headers.
func headerField(off int, size int, value uint64) func(f *file) {
	return func(f *file) {
		f.header(func(h []byte) {
			switch size {
			case 2:
				le.PutUint16(h[off:], uint16(value))
			case 4:
				le.PutUint32(h[off:], uint32(value))
			default:
				le.PutUint64(h[off:], value)
			}
		})
	}
}

// TestHostileHeaders is about identifier, headers and region tables.
func TestHostileHeaders(t *testing.T) {
	bat, meta := region{batRegion, builtBAT, mib, true}, region{metadataRegion, builtMetadata, mib, true}
	regions := func(list ...region) func(f *file) { return func(f *file) { f.regions(list...) } }
	refuse(t, []hostile{
		{"identifier", func(f *file) { f.b[0] = 'V' }, formats.ErrCorrupt, `file identifier: signature is "Vhdxfile"`},
		{"empty", func(f *file) { f.b = nil }, formats.ErrCorrupt, "file identifier"},
		{"nothing but the identifier", func(f *file) { f.b = f.b[:8] }, formats.ErrCorrupt, "header: the file has only 8 bytes"},
		{"both headers", func(f *file) { f.b[headerAt[0]+1000]++; f.b[headerAt[1]]++ }, formats.ErrCorrupt, "header: checksum"},
		{"two newest headers", headerField(8, 8, 7), nil, ""},
		{"two newest headers that differ", func(f *file) {
			headerField(8, 8, 7)(f)
			f.b[headerAt[0]+16]++
			f.seal()
		}, formats.ErrCorrupt, "sequence number 7 is that of the other one"},
		{"version", headerField(66, 2, 2), errors.ErrUnsupported, "version 2"},
		{"log length", headerField(68, 4, 4096), formats.ErrCorrupt, "log_length is 4096"},
		{"log offset", headerField(72, 8, mib+512), formats.ErrCorrupt, "log_offset is 0x100200"},
		{"log in the header section", headerField(72, 8, 0), formats.ErrCorrupt, "log_offset is 0x0"},
		{"log offset huge", headerField(72, 8, 1<<63), formats.ErrCorrupt, "log_offset is 0x8000000000000000"},
		{"log over the metadata", headerField(72, 8, builtMetadata), formats.ErrCorrupt, "overlaps the"},
		{"both tables", func(f *file) { f.b[tableAt[0]+9]++; f.b[tableAt[1]+9]++ }, formats.ErrCorrupt, "region table: checksum"},
		{"many regions", func(f *file) {
			for _, at := range tableAt {
				le.PutUint32(f.b[at+8:], 2048)
			}
			f.seal()
		}, formats.ErrCorrupt, "entry_count is 2048"},
		{"no BAT", regions(meta), formats.ErrCorrupt, "there is no BAT region"},
		{"no metadata", regions(bat), formats.ErrCorrupt, "there is no metadata region"},
		{"two BATs", regions(bat, region{batRegion, builtMetadata, mib, true}, meta), formats.ErrCorrupt, "a second BAT"},
		{"an unknown region", regions(bat, meta, region{unknownGUID, 100 * mib, mib, false}), nil, ""},
		{"an unknown region that is required", regions(bat, meta, region{unknownGUID, 4 * mib, mib, true}), errors.ErrUnsupported, unknownGUID},
		{"overlap", regions(bat, region{metadataRegion, builtBAT, mib, true}), formats.ErrCorrupt, "overlaps the BAT"},
		{"overlap of an unknown region", regions(bat, meta, region{unknownGUID, builtMetadata, mib, false}), formats.ErrCorrupt, "overlaps the"},
		{"in the header section", regions(bat, region{metadataRegion, 0, mib, true}), formats.ErrCorrupt, "offset of the metadata region is 0x0"},
		{"odd offset", regions(bat, region{metadataRegion, builtMetadata + 4096, mib, true}), formats.ErrCorrupt, "offset of the metadata region is 0x201000"},
		{"huge offset", regions(bat, region{metadataRegion, 1 << 63, mib, true}), formats.ErrCorrupt, "offset of the metadata region"},
		{"after the file", regions(bat, region{metadataRegion, 1 << 40, mib, true}), formats.ErrCorrupt, "lies outside of the file"},
		{"odd length", regions(bat, region{metadataRegion, builtMetadata, 4096, true}), formats.ErrCorrupt, "length of the metadata region is 4096"},
		{"length 0", regions(bat, region{metadataRegion, builtMetadata, 0, true}), formats.ErrCorrupt, "length of the metadata region is 0"},
	})
}

// TestHostileMetadata is about the metadata table and its items.
func TestHostileMetadata(t *testing.T) {
	item := func(n int, change func(e []byte)) func(f *file) {
		return func(f *file) { change(f.b[builtMetadata+32*(n+1):][:32]) }
	}
	value := func(n int, change func(v []byte)) func(f *file) {
		return func(f *file) {
			off := le.Uint32(f.b[builtMetadata+32*(n+1)+16:])
			change(f.b[builtMetadata+off:])
		}
	}
	number := func(n int, v uint64) func(f *file) {
		return value(n, func(b []byte) {
			if n == 1 {
				le.PutUint64(b, v)
			} else {
				le.PutUint32(b, uint32(v))
			}
		})
	}
	with := func(extra ...metaItem) func(f *file) {
		return func(f *file) { f.metadata(append(small.items(), extra...)...) }
	}
	refuse(t, []hostile{
		{"signature", func(f *file) { f.b[builtMetadata]++ }, formats.ErrCorrupt, "metadata table: signature"},
		{"many items", func(f *file) { le.PutUint16(f.b[builtMetadata+10:], 2048) }, formats.ErrCorrupt, "entry_count is 2048"},
		{"an item is missing", func(f *file) { f.metadata(small.items()[:4]...) }, formats.ErrCorrupt, "physical sector size is missing"},
		{"an item of the user's", func(f *file) { with(metaItem{fileParameters, 1, []byte("mine")})(f) }, nil, ""},
		{"an empty item", func(f *file) {
			with(metaItem{unknownGUID, 0, []byte("x")})(f)
			item(5, func(e []byte) { clear(e[16:24]) })(f)
		}, nil, ""},
		{"an unknown item", with(metaItem{unknownGUID, 0, []byte("x")}), nil, ""},
		{"an unknown item that is required", with(metaItem{unknownGUID, 4, []byte("x")}), errors.ErrUnsupported, unknownGUID},
		{"an item twice", with(small.items()[1]), formats.ErrCorrupt, "a second virtual disk size"},
		{"length", item(1, func(e []byte) { e[20] = 4 }), formats.ErrCorrupt, "length of the item virtual disk size is 4"},
		{"length huge", item(1, func(e []byte) { le.PutUint32(e[20:], 1<<32-1) }), formats.ErrCorrupt, "length is 4294967295"},
		{"in the table", item(1, func(e []byte) { le.PutUint32(e[16:], 32) }), formats.ErrCorrupt, "must lie after the table"},
		{"after the region", item(1, func(e []byte) { le.PutUint32(e[16:], mib-4) }), formats.ErrCorrupt, "in the region"},
		{"offset huge", item(1, func(e []byte) { le.PutUint32(e[16:], 1<<32-1) }), formats.ErrCorrupt, "in the region"},
		{"overlap", item(1, func(e []byte) { le.PutUint32(e[16:], tableSize+4) }), formats.ErrCorrupt, "overlaps the file parameters"},
		{"block size 0", number(0, 0), formats.ErrCorrupt, "block_size is 0"},
		{"block size small", number(0, 512*kib), formats.ErrCorrupt, "block_size is 524288"},
		{"block size odd", number(0, 3*mib), formats.ErrCorrupt, "block_size is 3145728"},
		{"block size large", number(0, 512*mib), formats.ErrCorrupt, "block_size is 536870912"},
		{"block size huge", number(0, 1<<31), formats.ErrCorrupt, "block_size is 2147483648"},
		{"flags", value(0, func(v []byte) { v[4] = 8 }), errors.ErrUnsupported, "flags 0x8"},
		{"size odd", number(1, 513), formats.ErrCorrupt, "virtual_disk_size is 513"},
		{"size large", number(1, 64*tib+512), formats.ErrCorrupt, "up to 64 TiB"},
		{"size huge", number(1, 1<<63), formats.ErrCorrupt, "up to 64 TiB"},
		{"larger than its BAT", number(1, 1<<40), formats.ErrCorrupt, "its region has 1048576 bytes"},
		{"sector size", number(3, 1024), formats.ErrCorrupt, "logical_sector_size is 1024"},
		{"size of half a sector", func(f *file) { number(3, 4096)(f) }, formats.ErrCorrupt, "multiple of logical_sector_size, 4096"},
		{"physical sector size", number(4, 0), formats.ErrCorrupt, "physical_sector_size is 0"},
		{"a parent without a locator", value(0, func(v []byte) { v[4] = 2 }), formats.ErrCorrupt, "the item parent locator is missing"},
	})
}

// TestHostileLocators is about who the parent is.
func TestHostileLocators(t *testing.T) {
	good := child.locator
	without := func(key string) map[string]string {
		m := map[string]string{}
		for k, v := range good {
			if k != key {
				m[k] = v
			}
		}
		return m
	}
	changed := func(change func(b []byte)) []byte {
		b := locatorBytes(vhdxLocator, good)
		change(b)
		return b
	}
	noPath := without("relative_path")
	delete(noPath, "absolute_win32_path")
	badID := without("parent_linkage")
	badID["parent_linkage"] = "{83ed0ec3-24c8-49a6-a959}"
	nul := without("relative_path")
	nul["relative_path"] = "a\x00b"
	var cases []hostile
	for _, c := range []struct {
		name  string
		item  []byte
		kind  error
		words string
	}{
		{"short", make([]byte, 19), formats.ErrCorrupt, "it has 19 bytes"},
		{"type", locatorBytes(unknownGUID, good), errors.ErrUnsupported, unknownGUID},
		{"count", changed(func(b []byte) { b[18] = 40 }), formats.ErrCorrupt, "key_value_count is 40"},
		{"many", append(changed(func(b []byte) { b[18] = 129 }), make([]byte, 3000)...), formats.ErrCorrupt, "key_value_count is 129"},
		{"key outside", changed(func(b []byte) { le.PutUint32(b[20:], 1<<32-1) }), formats.ErrCorrupt, "key 0"},
		{"key empty", changed(func(b []byte) { le.PutUint16(b[28:], 0) }), formats.ErrCorrupt, "key 0"},
		{"value at 0", changed(func(b []byte) { le.PutUint32(b[24:], 0) }), formats.ErrCorrupt, "the value of"},
		{"value odd", changed(func(b []byte) { le.PutUint16(b[30:], 3) }), formats.ErrCorrupt, "the value of"},
		{"value outside", changed(func(b []byte) { le.PutUint16(b[30:], 65534) }), formats.ErrCorrupt, "the value of"},
		{"key twice", changed(func(b []byte) { copy(b[32:44], b[20:32]) }), formats.ErrCorrupt, "a second"},
		{"NUL", locatorBytes(vhdxLocator, nul), formats.ErrCorrupt, "NUL"},
		{"no linkage", locatorBytes(vhdxLocator, without("parent_linkage")), formats.ErrCorrupt, `parent_linkage is ""`},
		{"linkage", locatorBytes(vhdxLocator, badID), formats.ErrCorrupt, "parent_linkage is"},
		{"no path", locatorBytes(vhdxLocator, noPath), formats.ErrCorrupt, "none of relative_path"},
	} {
		items := child.items()
		items[5].data = c.item
		cases = append(cases, hostile{c.name, func(f *file) { f.metadata(items...) }, c.kind, c.words})
	}
	refuse(t, cases)
}

// empty is small without its blocks.
var empty = disk{size: small.size, blockSize: mib, sector: 512}

// hostile is a change to a good file that keeps it from being opened, or, without a kind, does not.
type hostile struct {
	name   string
	change func(f *file)
	kind   error
	words  string
}

func refuse(t *testing.T, cases []hostile) {
	fresh := empty.build().copies()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := fresh()
			c.change(f)
			_, err := Driver{}.Open(t.Context(), formattest.Bytes(f.b), formats.OpenOptions{})
			if !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("Open = %v, want %q", err, c.words)
			}
			// What keeps a file from being opened is damage to check, or a refusal of the same words.
			var found []formats.Problem
			err = Driver{}.Check(t.Context(), formattest.Bytes(f.b), formats.OpenOptions{}, func(p formats.Problem) { found = append(found, p) })
			if said := fmt.Sprint(found, err); !strings.Contains(said, c.words) || c.kind == nil && countDamage(found) > 0 {
				t.Errorf("Check says %s, want %q", said, c.words)
			}
		})
	}
}

// TestHostileBlocks: an entry of the BAT is refused when it is used, and only then.
func TestHostileBlocks(t *testing.T) {
	partial := uint64(4*mib | partiallyPresent)
	copies := map[bool]func() *file{false: small.build().copies(), true: child.build().copies()}
	for _, c := range []struct {
		name    string
		disk    disk
		index   int64
		entry   uint64
		words   string
		harmful bool
	}{
		{"reserved state", small, 0, 4, "state 4 is reserved", true},
		{"the drafts' unmapped", small, 0, 5, "", false},
		{"reserved bits", small, 0, 4*mib | 1<<10 | 6, "reserved bits", true},
		{"reserved bits of an absent block", small, 0, 1<<10 | 2, "", false},
		{"after the file", small, 0, 1<<40 | 6, "lies outside of the file", true},
		{"far behind", small, 0, 1<<64 - mib | 6, "lies outside of the file", true},
		{"its end after the file", small, 0, 7*mib | 6, "lies outside of the file", true},
		{"in the header section", small, 0, 0 | 6, "overlaps the header section", true},
		{"in the log", small, 0, builtLog | 6, "overlaps the log", true},
		{"in the metadata", small, 0, builtMetadata | 6, "overlaps the metadata region", true},
		{"in the BAT", small, 0, builtBAT | 6, "overlaps the BAT", true},
		{"partially present without a parent", small, 0, partial, "without a parent", true},
		{"what a bitmap's entry says without a parent", small, 4096, 1<<40 | 7, "", false},
		{"no bitmap", child, 2048, 0, "it is not present", true},
		{"bitmap in a reserved state", child, 2048, 7, "state 7 is reserved", true},
		{"bitmap after the file", child, 2048, 1<<40 | 6, "lies outside of the file", true},
		{"bitmap in the log", child, 2048, builtLog | 6, "overlaps the log", true},
		{"bitmap with reserved bits", child, 2048, 4*mib | 8 | 6, "reserved bits", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := copies[c.disk.locator != nil]()
			f.entry(c.index, c.entry)
			img := openSource(t, formattest.Bytes(f.b))
			p := make([]byte, 512)
			err := img.ReadAt(t.Context(), p, 0)
			_, extentErr := img.Extent(t.Context(), 0, mib)
			for _, err := range []error{err, extentErr} {
				if c.harmful && (!errors.Is(err, formats.ErrCorrupt) || !strings.Contains(err.Error(), c.words)) || !c.harmful && err != nil {
					t.Errorf("%v, want %q", err, c.words)
				}
			}
			found := problems(t, formattest.Bytes(f.b))
			if countDamage(found) > 0 != c.harmful || !strings.Contains(fmt.Sprint(found), c.words) {
				t.Errorf("Check says %v, want %q", found, c.words)
			}
			if err := img.ReadAt(t.Context(), p, img.Info().Size-512); err != nil {
				t.Errorf("another block: %v", err)
			}
		})
	}
}

// TestHugeFile: no memory is taken for a file whose size says that it needs much.
func TestHugeFile(t *testing.T) {
	b := small.build().b
	src := formattest.Sparse{Bytes: maxFileSize + 1, Parts: []formattest.Part{{Data: b}}}
	if _, err := (Driver{}).Open(t.Context(), src, formats.OpenOptions{}); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("Open = %v", err)
	}
	src.Bytes = 16 * tib
	if found := problems(t, src); len(found) != 1 || !found[0].Leak {
		t.Errorf("Check: %v", found)
	}
}

func TestSnapshotsAreRefused(t *testing.T) {
	_, err := Driver{}.Open(t.Context(), formattest.Bytes(small.build().b), formats.OpenOptions{Snapshot: "one"})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open = %v", err)
	}
}
