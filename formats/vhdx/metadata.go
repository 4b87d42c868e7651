package vhdx

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// metadata is the facts about the disk.
type metadata struct {
	blockSize          int64
	leaveAllocated     bool // the disk is fixed: all its blocks are there
	hasParent          bool
	size               int64 // of the disk, bytes
	id                 guid
	sector, physSector int64
	parent             *locator // nil without
}

// item is an entry of the metadata table.
type item struct {
	span
	at     int64 // of the entry
	length uint32
}

type knownItem struct {
	id, what string
	length   uint32
}

// knownItems are those that a reader must know, with their lengths; 0 is any.
var knownItems = []knownItem{
	{fileParameters, "file parameters", 8},
	{virtualDiskSize, "virtual disk size", 8},
	{virtualDiskID, "virtual disk ID", 16},
	{logicalSectorSize, "logical sector size", 4},
	{physicalSectorSize, "physical sector size", 4},
	{parentLocator, "parent locator", 0},
}

// readMetadata reads the metadata region. If it reports something wrong, the result is nil. The
// error is for an unknown item that readers must know.
func readMetadata(ctx context.Context, src formats.Source, region span, report report) (*metadata, error) {
	items, err := readItems(ctx, src, region, report)
	if err != nil || items == nil {
		return nil, err
	}
	bytes := map[string][]byte{}
	for _, k := range knownItems {
		it, ok := items[k.id]
		switch {
		case k.id == parentLocator: // which only matters if there is a parent
		case !ok:
			report(region.off, "metadata: the item %s is missing", k.what)
			return nil, nil
		case it.length != k.length:
			report(it.at+20, "metadata: the length of the item %s is %d, must be %d", k.what, it.length, k.length)
			return nil, nil
		default:
			if bytes[k.id], err = readItem(ctx, src, it); err != nil {
				return nil, err
			}
		}
	}
	m, err := decodeMetadata(bytes, items, report)
	if err != nil || m == nil || !m.hasParent {
		return m, err
	}
	it, ok := items[parentLocator]
	if !ok {
		report(region.off, "metadata: the disk has a parent and the item parent locator is missing")
		return nil, nil
	}
	b, err := readItem(ctx, src, it)
	if err != nil {
		return nil, err
	}
	if m.parent, err = decodeLocator(b, it.off, report); m.parent == nil {
		return nil, err
	}
	return m, nil
}

func readItem(ctx context.Context, src formats.Source, it item) ([]byte, error) {
	b := make([]byte, it.length)
	if err := src.ReadAt(ctx, b, it.off); err != nil {
		return nil, fmt.Errorf("vhdx: metadata at %#x: %w", it.off, err)
	}
	return b, nil
}

// readItems reads the metadata table. The result has the system's items by their IDs.
func readItems(ctx context.Context, src formats.Source, region span, report report) (map[string]item, error) {
	table := make([]byte, tableSize)
	if err := src.ReadAt(ctx, table, region.off); err != nil {
		return nil, fmt.Errorf("vhdx: metadata table at %#x: %w", region.off, err)
	}
	count := binary.LittleEndian.Uint16(table[10:])
	switch {
	case string(table[:8]) != "metadata":
		report(region.off, "metadata table: signature is %q, must be \"metadata\"", table[:8])
		return nil, nil
	case count > maxEntries:
		report(region.off+10, "metadata table: entry_count is %d, must be at most %d", count, maxEntries)
		return nil, nil
	}
	var all []item
	items, good := map[string]item{}, true
	for i := range int64(count) {
		at := entrySize * (1 + i)
		it, id, user, err := decodeItem(table[at:], region.off+at, region)
		if err != nil {
			return nil, err
		}
		if fault := it.fault(region); fault != "" {
			report(it.at, "metadata table: %s: %s", it.what, fault)
			good = false
		} else if it.length > 0 {
			all = append(all, it)
		}
		if _, twice := items[id]; twice && !user {
			report(it.at, "metadata table: there is a second %s", it.what)
			good = false
		}
		if !user {
			items[id] = it
		}
	}
	if good = itemsApart(all, report) && good; !good {
		return nil, nil
	}
	return items, nil
}

// decodeItem decodes the entry in b, which is at an offset of the file.
func decodeItem(b []byte, at int64, region span) (it item, id string, user bool, err error) {
	le := binary.LittleEndian
	id = guid(b[:16]).String()
	it = item{span: span{what: "item " + id}, at: at, length: le.Uint32(b[20:])}
	it.off = region.off + int64(le.Uint32(b[16:]))
	it.end = it.off + int64(it.length)
	flags := le.Uint32(b[24:])
	user = flags&1 != 0
	i := slices.IndexFunc(knownItems, func(k knownItem) bool { return k.id == id })
	if i >= 0 && !user {
		it.what = knownItems[i].what
	} else if flags&4 != 0 {
		return it, id, user, fmt.Errorf("vhdx: metadata item %s, which must be understood to read the file, is not known: %w", id, errors.ErrUnsupported)
	}
	return it, id, user, nil
}

func (it item) fault(region span) string {
	switch {
	case it.length == 0 && it.off == region.off: // present but empty
	case it.length > mib:
		return fmt.Sprintf("length is %d, must be at most 1 MiB", it.length)
	case it.off < region.off+tableSize || it.end > region.end:
		return fmt.Sprintf("[%#x, +%d) must lie after the table, in the region [%#x, %#x)", it.off, it.length, region.off, region.end)
	}
	return ""
}

// itemsApart reports items that overlap.
func itemsApart(all []item, report report) bool {
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(a.off, b.off) })
	good := true
	for i := range max(len(all), 1) - 1 {
		if a, b := all[i], all[i+1]; a.overlaps(b.span) {
			report(b.at, "metadata table: the %s at %#x overlaps the %s", b.what, b.off, a.what)
			good = false
		}
	}
	return good
}

// decodeMetadata reports the first item with an impossible value.
func decodeMetadata(b map[string][]byte, items map[string]item, report report) (*metadata, error) {
	le := binary.LittleEndian
	flags := le.Uint32(b[fileParameters][4:])
	size := le.Uint64(b[virtualDiskSize])
	m := &metadata{
		blockSize:      int64(le.Uint32(b[fileParameters])),
		leaveAllocated: flags&1 != 0,
		hasParent:      flags&2 != 0,
		id:             guid(b[virtualDiskID]),
		sector:         int64(le.Uint32(b[logicalSectorSize])),
		physSector:     int64(le.Uint32(b[physicalSectorSize])),
	}
	refuse := func(id, format string, args ...any) (*metadata, error) {
		report(items[id].off, format, args...)
		return nil, nil
	}
	switch {
	case !powerOfTwo(m.blockSize, minBlockSize, maxBlockSize):
		return refuse(fileParameters, "metadata: block_size is %d, must be a power of two from 1 MiB to 256 MiB", m.blockSize)
	case flags&^3 != 0:
		return nil, fmt.Errorf("vhdx: file parameters with the flags %#x: only leave_blocks_allocated (1) and has_parent (2) are known: %w", flags, errors.ErrUnsupported)
	case m.sector != 512 && m.sector != 4096:
		return refuse(logicalSectorSize, "metadata: logical_sector_size is %d, must be 512 or 4096", m.sector)
	case m.physSector != 512 && m.physSector != 4096:
		return refuse(physicalSectorSize, "metadata: physical_sector_size is %d, must be 512 or 4096", m.physSector)
	case size > maxDiskSize || size%uint64(m.sector) != 0:
		return refuse(virtualDiskSize, "metadata: virtual_disk_size is %d, must be a multiple of logical_sector_size, %d, up to 64 TiB", size, m.sector)
	}
	m.size = int64(size)
	return m, nil
}
