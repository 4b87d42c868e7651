package vhd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	s, err := readSeals(ctx, src)
	if err != nil {
		return nil, err
	}
	foot, err := s.believe()
	if err != nil {
		return nil, err
	}
	end := s.dataEnd(src)
	var found first
	if foot.verify(end, found.report); found.err != nil {
		return nil, found.err
	}
	info := foot.info(&s)
	if foot.diskType == typeFixed {
		return newFixed(src, info), nil
	}
	return openBlocks(ctx, src, &foot, info, end)
}

// openBlocks opens a dynamic or differencing disk by a verified footer.
func openBlocks(ctx context.Context, src formats.Source, foot *sealed, info formats.Info, end int64) (formats.Image, error) {
	at := int64(foot.dataOffset)
	h, problem, err := readHeader(ctx, src, at)
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return nil, formats.Corrupt(name, at, "header: %s", problem)
	}
	if err := h.supported(); err != nil {
		return nil, err
	}
	var found first
	if h.verify(at, info.Size, end, found.report); found.err != nil {
		return nil, found.err
	}
	info.ClusterSize, info.Allocated = int64(h.blockSize), formats.Unknown
	info.Details = append(info.Details, h.details()...)
	if foot.diskType == typeDifferencing {
		if info.Backing, err = h.backing(ctx, src, at, end); err != nil {
			return nil, err
		}
		info.Details = append(info.Details, h.parentDetails()...)
	}
	return &blocks{src: src, bat: newBAT(src, &h, at, info.Size, end), sparse: foot.diskType == typeDifferencing, holes: formats.HolesOf(src).IfAny(), info: info}, nil
}

// info describes a disk by its verified footer.
func (s *sealed) info(all *seals) formats.Info {
	return formats.Info{
		Format: name,
		Size:   int64(s.size()),
		ID:     s.uuid.String(),
		Details: append([]formats.Detail{
			{Key: "subformat", Value: s.subformat()},
			{Key: "size_rule", Value: s.sizeRule()},
			{Key: "current_size", Value: strconv.FormatUint(s.currentSize, 10)},
			{Key: "original_size", Value: strconv.FormatUint(s.originalSize, 10)},
			{Key: "geometry", Value: s.geometry.String()},
			{Key: "creator_app", Value: printable(s.creatorApp[:])},
			{Key: "creator_version", Value: formatVersion(s.creatorVersion)},
			{Key: "creator_os", Value: printable(s.creatorOS[:])},
			{Key: "timestamp", Value: formatTime(s.timestamp)},
			{Key: "uuid", Value: s.uuid.String()},
			{Key: "saved_state", Value: strconv.Itoa(int(s.savedState))},
		}, s.footerDetail(all)...),
	}
}

// footerDetail says if the footer was found in an unusual place.
func (s *sealed) footerDetail(all *seals) []formats.Detail {
	switch {
	case all.end.fault != "":
		return []formats.Detail{{Key: "footer", Value: fmt.Sprintf("the copy at 0, as the file is truncated or its end damaged (%s)", all.end.fault)}}
	case s.short:
		return []formats.Detail{{Key: "footer", Value: "511 bytes"}}
	}
	return nil
}

func (h *header) details() []formats.Detail {
	return []formats.Detail{
		{Key: "block_size", Value: strconv.FormatUint(uint64(h.blockSize), 10)},
		{Key: "max_table_entries", Value: strconv.FormatUint(uint64(h.maxTableEntries), 10)},
	}
}

func (h *header) parentDetails() []formats.Detail {
	return []formats.Detail{
		{Key: "parent_uuid", Value: h.parentUUID.String()},
		{Key: "parent_timestamp", Value: formatTime(h.parentTimestamp)},
	}
}

// printable gives a field of four letters, hostile bytes escaped.
func printable(b []byte) string {
	return strings.Trim(strconv.QuoteToASCII(strings.TrimRight(string(b), " \x00")), `"`)
}
