package qcow

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// Open reads no tables.
func (d *Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	h, err := readHeader(ctx, src)
	if err != nil {
		return nil, err
	}
	m := &image{lookup: newLookup(src, h), driver: d, src: src, info: formats.Info{
		Format:      name,
		Size:        h.diskSize(),
		ClusterSize: h.cluster(),
		Allocated:   formats.Unknown,
		Compression: "zlib",
	}}
	if h.backingOffset != 0 && h.backingSize != 0 {
		path := make([]byte, h.backingSize)
		if err := readAt(ctx, src, path, int64(h.backingOffset), "backing file's name"); err != nil {
			return nil, err
		}
		m.info.Backing = &formats.Backing{Paths: []string{string(path)}}
	}
	return m, nil
}
