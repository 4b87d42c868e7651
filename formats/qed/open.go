package qed

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// Open ignores a set need-check bit, which only matters to writers.
func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	h, err := readHeader(ctx, src)
	if err != nil {
		return nil, err
	}
	if problem := h.identity(); problem != "" {
		return nil, formats.Corrupt(name, 0, "%s", problem)
	}
	if err := h.supported(); err != nil {
		return nil, err
	}
	if err := broken(h.units()); err != nil {
		return nil, err
	}
	if err := broken(h.layout()); err != nil {
		return nil, err
	}
	backing, err := h.backing(ctx, src)
	if err != nil {
		return nil, err
	}
	return &image{newReader(h, src), backing}, nil
}

// broken returns an error for the first broken rule.
func broken(rules []rule) error {
	for _, r := range rules {
		if !r.ok {
			return formats.Corrupt(name, r.off, "%v", r)
		}
	}
	return nil
}

// backing reads the name of the backing file, if there is one.
func (h *header) backing(ctx context.Context, src formats.Source) (*formats.Backing, error) {
	if h.features&featureBackingFile == 0 {
		return nil, nil
	}
	b := make([]byte, h.backingNameSize)
	if err := src.ReadAt(ctx, b, int64(h.backingNameOffset)); err != nil {
		return nil, fmt.Errorf("qed: backing file name at %#x: %w", h.backingNameOffset, err)
	}
	path := string(b)
	if strings.ContainsRune(path, 0) {
		return nil, formats.Corrupt(name, int64(h.backingNameOffset), "backing file name %q: it must not have a zero byte", path)
	}
	backing := &formats.Backing{Paths: []string{path}}
	if h.features&featureBackingNoProbe != 0 {
		backing.Format = "raw"
	}
	return backing, nil
}

func (m *image) Info() formats.Info {
	info := formats.Info{
		Format:      name,
		Size:        int64(m.imageSize),
		ClusterSize: m.cluster(),
		Allocated:   formats.Unknown,
		Details: []formats.Detail{
			{Key: "table_size", Value: strconv.FormatUint(uint64(m.tableSize), 10)},
			{Key: "header_size", Value: strconv.FormatUint(uint64(m.headerSize), 10)},
			{Key: "features", Value: m.featureNames()},
			{Key: "compat_features", Value: fmt.Sprintf("%#x", m.compat)},
			{Key: "autoclear_features", Value: fmt.Sprintf("%#x", m.autoclear)},
		},
	}
	if m.backing != nil {
		backing := *m.backing
		backing.Paths = slices.Clone(backing.Paths)
		info.Backing = &backing
	}
	return info
}

func (h *header) featureNames() string {
	var names []string
	for i, name := range []string{"backing_file", "need_check", "backing_format_no_probe"} {
		if h.features&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, " ")
}
