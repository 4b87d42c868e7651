package vdi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	h, err := readHeader(ctx, src)
	if err != nil {
		return nil, err
	}
	if err := broken(h.identity()); err != nil {
		return nil, err
	}
	if err := h.supported(); err != nil {
		return nil, err
	}
	if err := broken(h.layout()); err != nil {
		return nil, err
	}
	holes := formats.HolesOf(src)
	if h.imageType != typeFixed { // all blocks of a fixed image are there, holes or not
		holes = holes.IfAny()
	}
	return &image{header: h, src: src, bmap: newMap(src), holes: holes}, nil
}

// image is an open VDI file.
type image struct {
	*header
	src   formats.Source
	bmap  *tables.Cache
	holes formats.Holes
}

var _ formats.Image = (*image)(nil)

func (m *image) Info() formats.Info {
	return formats.Info{
		Format:      name,
		Size:        m.size(),
		ClusterSize: int64(m.blockSize),
		Allocated:   formats.Unknown,
		ID:          m.id(),
		Details:     m.details(),
	}
}

// id is the name by which a differencing image knows its parent.
func (h *header) id() string {
	if h.uuidImage == (uuid{}) {
		return ""
	}
	return h.uuidImage.String()
}

func (h *header) details() []formats.Detail {
	details := []formats.Detail{
		{Key: "image_type", Value: h.typeName()},
		{Key: "version", Value: fmt.Sprintf("%d.%d", h.version>>16, h.version&0xffff)},
		{Key: "text", Value: shown(h.text)},
		{Key: "description", Value: shown(h.description)},
		{Key: "image_flags", Value: fmt.Sprintf("%#x", h.imageFlags)},
		{Key: "block_size", Value: strconv.FormatUint(uint64(h.blockSize), 10)},
		{Key: "blocks_in_image", Value: strconv.FormatUint(uint64(h.blocksInImage), 10)},
		{Key: "blocks_allocated", Value: strconv.FormatUint(uint64(h.blocksAllocated), 10)},
		{Key: "uuid_image", Value: h.uuidImage.String()},
		{Key: "uuid_last_snap", Value: h.uuidLastSnap.String()},
	}
	return slices.DeleteFunc(details, func(d formats.Detail) bool { return d.Value == "" })
}

func (h *header) typeName() string {
	if h.imageType == typeFixed {
		return "fixed"
	}
	return "dynamic"
}

// shown escapes a text, which may be hostile.
func shown(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strconv.QuoteToASCII(s), `"`), `"`)
}

// newMap keeps pages of the block map.
func newMap(src formats.Source) *tables.Cache { return tables.New(src, name, 0, nil) }
