package qcow2

import (
	"context"
	"fmt"
	"strconv"

	"github.com/imsfs/imsfs/formats"
)

// file is the facts in an image's first cluster and snapshot table.
type file struct {
	header
	ext           extensions
	snapshots     []snapshot
	snapshotBytes int64 // length of the snapshot table
}

// readFirst reads and verifies the first cluster: header and extensions.
func readFirst(ctx context.Context, src formats.Source) (*file, error) {
	h, first, err := readHeader(ctx, src)
	if err != nil {
		return nil, err
	}
	f := &file{header: h}
	f.ext, err = decodeExtensions(first, &h)
	if unsupported := h.supported(&f.ext); unsupported != nil {
		return nil, unsupported
	}
	if err := h.verify(src.Size()); err != nil {
		return nil, err
	}
	return f, err
}

// Open reads no tables but that of the snapshots.
func (d *Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	f, err := readFirst(ctx, src)
	if err != nil {
		return nil, err
	}
	if f.incompatible&incompatCorrupt != 0 {
		return nil, corrupt(offIncompatible, "header: the corrupt bit is set: whoever wrote to the image last found it damaged")
	}
	if f.snapshots, f.snapshotBytes, err = readSnapshots(ctx, src, &f.header); err != nil {
		return nil, err
	}
	g := f.geometry()
	l1Table, size := f.l1Table, f.diskSize()
	if opts.Snapshot != "" {
		s, err := find(f.snapshots, opts.Snapshot)
		if err != nil {
			return nil, err
		}
		if err := s.verify(&g, src.Size()); err != nil {
			return nil, err
		}
		l1Table, size = s.l1Table, s.about.Size
	}
	data, err := f.data(ctx, src, opts.Files)
	if err != nil {
		return nil, err
	}
	return &image{
		lookup:      newLookup(src, data, g, l1Table, size),
		driver:      d,
		src:         src,
		data:        data,
		info:        f.info(size),
		compression: f.compressionType,
	}, nil
}

// data returns the file that has the clusters: src, or an external data file.
func (f *file) data(ctx context.Context, src formats.Source, files formats.Files) (formats.Source, error) {
	name := f.ext.dataFile
	switch {
	case f.incompatible&incompatDataFile == 0:
		return src, nil
	case name == "":
		return nil, unsupported("an image with an external data file that it does not name")
	case files == nil:
		return nil, unsupported("an image with the external data file %q, of which only this file is given,", name)
	}
	data, err := files.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("qcow2: external data file: %w", err)
	}
	return data, nil
}

// info describes the file, with a disk of that size.
func (f *file) info(size int64) formats.Info {
	info := formats.Info{
		Format:      name,
		Size:        size,
		ClusterSize: 1 << f.clusterBits,
		Allocated:   formats.Unknown,
		Compression: f.codec(),
		Backing:     f.ext.backingInfo(),
		Details:     f.details(),
	}
	for _, s := range f.snapshots {
		info.Snapshots = append(info.Snapshots, s.about)
	}
	return info
}

// details are QEMU's: version 2 has fewer.
func (f *file) details() []formats.Detail {
	compat := "1.1"
	if f.version == 2 {
		compat = "0.10"
	}
	details := []formats.Detail{
		{Key: "compat", Value: compat},
		{Key: "compression_type", Value: f.codec()},
		{Key: "refcount_bits", Value: strconv.Itoa(1 << f.refcountOrder)},
	}
	if f.version == 2 {
		return details
	}
	flag := func(key string, set bool) {
		details = append(details, formats.Detail{Key: key, Value: strconv.FormatBool(set)})
	}
	flag("lazy_refcounts", f.compatible&compatLazyRefcounts != 0)
	flag("dirty_flag", f.incompatible&incompatDirty != 0)
	flag("corrupt", f.incompatible&incompatCorrupt != 0)
	flag("extended_l2", f.extended())
	if f.incompatible&incompatDataFile != 0 {
		details = append(details, formats.Detail{Key: "data_file", Value: f.ext.dataFile})
		flag("data_file_raw", f.autoclear&autoclearRawData != 0)
	}
	if f.ext.bitmaps.count > 0 {
		details = append(details, formats.Detail{Key: "bitmaps", Value: strconv.FormatUint(uint64(f.ext.bitmaps.count), 10)})
	}
	return details
}
