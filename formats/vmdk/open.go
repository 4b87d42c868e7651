package vmdk

import (
	"context"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

// front is the descriptor of the opened source, and the header if it is an extent too.
type front struct {
	file     file
	header   *header // nil if the descriptor is all there is
	headerAt int64
	desc     *descriptor
	descAt   int64 // bytes
	descSize int64 // 0 if there is none
}

func (d *Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	front, err := readFront(ctx, file{Source: src}, first)
	if err != nil {
		return nil, err
	}
	if err := front.describe(ctx); err != nil {
		return nil, err
	}
	o := &opener{driver: d, files: opts.Files, opened: map[string]formats.Source{}, left: maxDirectories}
	o.cacheBytes = max(minTables, tables.DefaultBytes/int64(max(1, len(front.desc.extents))))
	parts, err := o.parts(ctx, front)
	if err != nil {
		return nil, err
	}
	return newImage(front, parts), nil
}

// first is for callers that stop at the first fault.
func first(faults []error) error { return faults[0] }

// readFront finds the kind of a source and verifies its header, if it has one. If there are faults,
// the error is failed's.
func readFront(ctx context.Context, f file, failed func(faults []error) error) (*front, error) {
	b := make([]byte, min(f.Size(), frontSize))
	if err := f.read(ctx, b, 0, "first bytes"); err != nil {
		return nil, err
	}
	switch kindOf(b) {
	case descriptorFile:
		return &front{file: f, descSize: f.Size()}, nil
	case cowdFile:
		h, err := readCOWD(ctx, f)
		return &front{file: f, header: h}, err
	case unknown:
		// The caller says that it is VMDK: then text is a descriptor.
		if text, ok := textOf(b); ok && strings.TrimSpace(text) != "" {
			return &front{file: f, descSize: f.Size()}, nil
		}
	case sparseFile:
		h, at, err := readHeader(ctx, f)
		if err != nil {
			return nil, err
		}
		if err := h.supported(f); err != nil {
			return nil, err
		}
		if faults := h.verify(f, at); len(faults) > 0 {
			return nil, failed(faults)
		}
		r := &front{file: f, header: &h, headerAt: at}
		if h.descriptorOffset != 0 {
			r.descAt, r.descSize = int64(h.descriptorOffset)*sector, int64(h.descriptorSize)*sector
		}
		if h.onlyDescriptor() {
			r.header = nil
		}
		return r, nil
	}
	return nil, otherKind(f, b)
}

// otherKind is the error about a file that begins with b and is not a sparse extent that is read.
func otherKind(f file, b []byte) error {
	switch kindOf(b) {
	case seSparseFile:
		return f.unsupported("an seSparse extent: %s", notAlone)
	case utf16File:
		return f.unsupported("a descriptor in UTF-16 is not read: save it as UTF-8")
	}
	return f.corrupt(0, "magic number: the file begins with %q, must begin with %q", b[:min(4, len(b))], magic)
}

const notAlone = "one extent of a disk, without a descriptor, is not read by itself: open the file that has the descriptor"

// describe reads the descriptor, wherever it is.
func (r *front) describe(ctx context.Context) (err error) {
	if r.descSize > 0 {
		if r.desc, err = readDescriptor(ctx, r.file, r.descAt, r.descSize); err != nil {
			return err
		}
	}
	if r.desc == nil {
		return r.file.unsupported("%s", notAlone)
	}
	switch n := len(r.desc.extents); {
	case r.header != nil && n > 1:
		return r.file.unsupported("a descriptor of %d extents inside one of them is not read", n)
	case r.header == nil && n == 0:
		return r.file.corrupt(r.descAt, "descriptor: it names no extents")
	}
	total := int64(0)
	for _, line := range r.desc.extents {
		if total += line.sectors; total > maxSectors {
			return r.file.corrupt(line.at, "descriptor: the extents together have more than %d sectors", int64(maxSectors))
		}
	}
	return nil
}

// opener opens the extents of one image.
type opener struct {
	driver     *Driver
	files      formats.Files
	opened     map[string]formats.Source
	left       int64 // bytes that grain directories may still take
	cacheBytes int64 // for the tables of each extent
}

// part is an extent and its place on the disk.
type part struct {
	start, end int64
	extent
}

// extent is a piece of a disk of one kind. Offsets are within it.
type extent interface {
	// extent does the work of formats.Image's Extent.
	extent(ctx context.Context, off, n int64) (formats.Extent, error)
	// readAt does the work of formats.Image's ReadAt.
	readAt(ctx context.Context, p []byte, off int64) error
}

// parts opens the extents, which the descriptor lists or, alone, the header is of.
func (o *opener) parts(ctx context.Context, r *front) ([]part, error) {
	if r.header != nil {
		x, err := newSparse(ctx, o.driver, r, o.cacheBytes)
		if err != nil {
			return nil, err
		}
		return []part{{0, x.size, x}}, nil
	}
	var parts []part
	end := int64(0)
	for _, line := range r.desc.extents {
		x, err := o.open(ctx, r.file, line)
		if err != nil {
			return nil, err
		}
		start := end
		end += line.sectors * sector
		parts = append(parts, part{start, end, x})
	}
	return parts, nil
}

func (o *opener) open(ctx context.Context, from file, line extentLine) (extent, error) {
	if line.kind == typeZero {
		return zero{}, nil
	}
	f, err := o.file(ctx, from, line.file)
	if err != nil {
		return nil, err
	}
	switch line.kind {
	case typeFlat, typeVMFS:
		return newFlat(f, line)
	case typeSESparse:
		return o.seSparse(ctx, f, line)
	}
	return o.sparse(ctx, f, line)
}

func (o *opener) seSparse(ctx context.Context, f file, line extentLine) (*seSparse, error) {
	b := make([]byte, min(f.Size(), int64(len(magicSESparse))))
	if err := f.read(ctx, b, 0, "first bytes"); err != nil {
		return nil, err
	}
	if string(b) != magicSESparse {
		return nil, f.corrupt(0, "magic number: the file begins with %q, must begin with %q", b, magicSESparse)
	}
	s, err := openSESparse(ctx, f, line.sectors, o.left, o.cacheBytes)
	if err == nil {
		o.left -= int64(len(s.dir))
	}
	return s, err
}

// sparse opens a sparse extent in a file of its own.
func (o *opener) sparse(ctx context.Context, f file, line extentLine) (*sparse, error) {
	r, err := readFront(ctx, f, first)
	if err != nil {
		return nil, err
	}
	if r.header == nil {
		return nil, f.corrupt(0, "a descriptor where a sparse extent must be")
	}
	if r.header.capacity != uint64(line.sectors) {
		return nil, f.corrupt(r.headerAt+fieldOffset("capacity"), "header: capacity is %d, must be the %d sectors of the descriptor", r.header.capacity, line.sectors)
	}
	if o.left -= int64(r.header.tables() * gteSize); o.left < 0 {
		return nil, f.corrupt(r.headerAt+fieldOffset("capacity"), "header: the grain directories of all extents take more than %d bytes", maxDirectories)
	}
	return newSparse(ctx, o.driver, r, o.cacheBytes)
}

// file opens a file that the descriptor names, once.
func (o *opener) file(ctx context.Context, from file, name string) (file, error) {
	if o.files == nil {
		return file{}, from.unsupported("the extent in %s cannot be read: the image is of several files, and only this one is given", shorten(name))
	}
	src := o.opened[name]
	if src == nil {
		var err error
		if src, err = o.files.Open(ctx, name); err != nil {
			return file{}, fmt.Errorf("%s: extent in %s: %w", from.where(), shorten(name), err)
		}
		o.opened[name] = src
	}
	return file{src, name}, nil
}
