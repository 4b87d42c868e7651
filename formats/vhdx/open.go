package vhdx

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	var found first
	m, err := load(ctx, src, found.report)
	switch {
	case err != nil:
		return nil, err
	case found.err != nil:
		return nil, found.err
	}
	return m, nil
}

// load reads all structures but the blocks. If it reports something that makes the disk unreadable,
// the result is nil.
func load(ctx context.Context, src formats.Source, report report) (*image, error) {
	creator, ok, err := readIdentifier(ctx, src, report)
	if err != nil || !ok {
		return nil, err
	}
	hs, err := readHeaders(ctx, src)
	if err != nil {
		return nil, err
	}
	h := hs.current(report)
	if h == nil {
		return nil, nil
	}
	if ok, err := h.verify(report); err != nil || !ok {
		return nil, err
	}
	file, logged, err := replay(ctx, src, h, report)
	if err != nil || file == nil {
		return nil, err
	}
	l, err := readLayout(ctx, file, h, report)
	if err != nil || l == nil {
		return nil, err
	}
	md, err := readMetadata(ctx, file, l.metadata, report)
	if err != nil || md == nil {
		return nil, err
	}
	m := &image{
		src:      file,
		geometry: geometry{size: md.size, blockSize: md.blockSize, sector: md.sector, parent: md.hasParent},
		layout:   l,
		bat:      bat{tables.New(file, name, 0, nil), l.bat.off},
		info:     describe(h, md, creator, logged),
		holes:    formats.HolesOf(file).IfAny(),
	}
	if need, have := m.entries()*8, l.bat.end-l.bat.off; need > have {
		report(l.bat.off, "BAT: its region has %d bytes, a disk of %d bytes in blocks of %d needs %d", have, m.size, m.blockSize, need)
		return nil, nil
	}
	return m, nil
}

// readIdentifier reads the first structure, which says who made the file.
func readIdentifier(ctx context.Context, src formats.Source, report report) (creator string, ok bool, err error) {
	b := make([]byte, min(src.Size(), int64(len(identifier)+creatorSize)))
	if err := src.ReadAt(ctx, b, 0); err != nil {
		return "", false, fmt.Errorf("vhdx: file identifier: %w", err)
	}
	switch {
	case !strings.HasPrefix(string(b), identifier):
		report(0, "file identifier: signature is %q, must be %q", b[:min(len(b), len(identifier))], identifier)
		return "", false, nil
	case src.Size() > maxFileSize:
		report(0, "a file of %d bytes: the largest disk, of 64 TiB, does not need more than %d", src.Size(), int64(maxFileSize))
		return "", false, nil
	}
	creator, _, _ = strings.Cut(decodeUTF16(b[len(identifier):]), "\x00")
	return creator, true, nil
}

func describe(h *header, md *metadata, creator string, logged int) formats.Info {
	info := formats.Info{
		Format:      name,
		Size:        md.size,
		SectorSize:  md.sector,
		ClusterSize: md.blockSize,
		Allocated:   formats.Unknown,
		ID:          h.dataWrite.String(),
	}
	kind, log := "dynamic", "empty"
	switch {
	case md.hasParent:
		kind = "differencing"
	case md.leaveAllocated:
		kind = "fixed"
	}
	if logged > 0 {
		log = fmt.Sprintf("replayed in memory, entries: %d", logged)
	}
	info.Details = []formats.Detail{
		{Key: "creator", Value: printable(creator)},
		{Key: "type", Value: kind},
		{Key: "block_size", Value: strconv.FormatInt(md.blockSize, 10)},
		{Key: "logical_sector_size", Value: strconv.FormatInt(md.sector, 10)},
		{Key: "physical_sector_size", Value: strconv.FormatInt(md.physSector, 10)},
		{Key: "virtual_disk_id", Value: md.id.String()},
		{Key: "data_write_guid", Value: h.dataWrite.String()},
		{Key: "file_write_guid", Value: h.fileWrite.String()},
		{Key: "log", Value: log},
	}
	if md.hasParent {
		info.Backing = md.parent.backing()
		info.Details = append(info.Details, md.parent.details()...)
	}
	return info
}

// printable replaces characters of a text by which a hostile file could mislead a reader.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
