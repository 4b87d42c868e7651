package vmdk

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// flatCluster is a choice: the unit of a disk of flat extents.
const flatCluster = 64 << 10

// image is an open VMDK: extents that follow one another. It is immutable.
type image struct {
	info  formats.Info
	parts []part
}

var _ formats.Image = (*image)(nil)

func newImage(r *front, parts []part) *image {
	m := &image{parts: parts, info: formats.Info{
		Format: name, Size: parts[len(parts)-1].end, Allocated: formats.Unknown, ID: formatCID(r.desc.cid), Details: r.details(parts),
	}}
	m.info.ClusterSize, m.info.Compression = clusters(parts)
	if r.desc.parentCID != noParent {
		m.info.Backing = &formats.Backing{Paths: []string{r.desc.parentHint}, Format: name, ID: formatCID(r.desc.parentCID)}
	}
	return m
}

// clusters gives the cluster size of the disk, that of the extents which must be decoded if there
// are any, and their codec.
func clusters(parts []part) (size int64, codec string) {
	var compressed, plain int64
	for _, p := range parts {
		switch s := p.extent.(type) {
		case *seSparse:
			plain = max(plain, seGrain)
		case *sparse:
			if s.header.compressed() {
				compressed = max(compressed, s.grain)
			} else {
				plain = max(plain, s.grain, minGrain*sector)
			}
		}
	}
	switch {
	case compressed > 0:
		return compressed, "zlib"
	case plain > 0:
		return plain, ""
	}
	return flatCluster, ""
}

func formatCID(id uint32) string { return fmt.Sprintf("%08x", id) }

func (m *image) Info() formats.Info {
	info := m.info
	info.Details = slices.Clone(info.Details)
	return info
}

func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	p := m.part(off)
	e, err := p.extent.extent(ctx, off-p.start, min(n, p.end-off))
	e.Off = off
	return e, err
}

func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		x := m.part(off)
		n := min(int64(len(p)), x.end-off)
		if err := x.readAt(ctx, p[:n], off-x.start); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// part finds the extent that has the byte at off.
func (m *image) part(off int64) *part {
	return &m.parts[sort.Search(len(m.parts), func(i int) bool { return off < m.parts[i].end })]
}

// maxShown bounds the extents that details list.
const maxShown = 16

// details returns the facts in the descriptor and in the extents' headers.
func (r *front) details(parts []part) []formats.Detail {
	d := []formats.Detail{
		{Key: "cid", Value: formatCID(r.desc.cid)},
		{Key: "parent_cid", Value: formatCID(r.desc.parentCID)},
		{Key: "create_type", Value: shown(r.desc.createType)},
	}
	for _, key := range shownDDB {
		if v := r.desc.ddb[key]; v != "" {
			d = append(d, formats.Detail{Key: "ddb_" + key, Value: shown(v)})
		}
	}
	d = append(d, formats.Detail{Key: "extents", Value: strconv.Itoa(len(parts))})
	for i, p := range parts[:min(len(parts), maxShown)] {
		d = append(d, formats.Detail{Key: fmt.Sprintf("extent_%d", i), Value: p.describe()})
	}
	return d
}

// shown escapes a text, which may be hostile.
func shown(s string) string {
	return strings.Replace(strings.TrimSuffix(shorten(s)[1:], `"`), `"…`, "…", 1)
}

func (p *part) describe() string {
	size := p.end - p.start
	switch x := p.extent.(type) {
	case *sparse:
		if x.header.cowd {
			return fmt.Sprintf("VMFSSPARSE %d bytes in grains of %d%s", size, x.grain, x.file.in())
		}
		text := fmt.Sprintf("SPARSE version %d, %d bytes in grains of %d", x.header.version, size, x.grain)
		if x.header.compressed() {
			text += ", compressed"
		}
		if x.header.uncleanShutdown != 0 {
			text += ", uncleanShutdown"
		}
		return text + x.file.in()
	case *seSparse:
		return fmt.Sprintf("SESPARSE %d bytes%s", size, x.file.in())
	case *flat:
		return fmt.Sprintf("FLAT %d bytes%s at %d", size, x.file.in(), x.start)
	}
	return fmt.Sprintf("ZERO %d bytes", size)
}

// in names the file, if it is not the opened one.
func (f file) in() string {
	if f.name == "" {
		return ""
	}
	return " in " + shorten(f.name)
}
