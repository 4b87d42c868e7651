// Package inspect shows the inside of a disk: its partitions, its file systems as trees, and the
// operating systems in them. It is the only package of its directory that the rest of the program
// imports.
//
// Open finds the slices of a disk and names their contents. File systems are opened when they are
// first used. Everything is read through one disk.Disk, so an open Layout needs its 8 MiB of pages
// and what the trees keep. Nothing is written, mounted or run, and the host's kernel never sees the
// content.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/content"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/table"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Options are the choices for opening a layout. The zero value is usable.
type Options struct {
	// NoReplay leaves the logs of file systems alone, see tree.Options.
	NoReplay bool
	// Drivers are the file systems that are read; nil is Drivers().
	Drivers []tree.Driver
}

// Layout is a disk with its slices. It is safe for concurrent use.
type Layout struct {
	Table  table.Table
	Slices []*Slice // in the order of the table, then volumes

	disk *disk.Disk
}

// SliceKind is where a slice comes from.
type SliceKind string

const (
	// Whole is a disk without a partition table, or a file system that ignores the table.
	Whole SliceKind = "whole"
	// Partition is an entry of the partition table.
	Partition SliceKind = "partition"
	// LogicalVolume is a volume of LVM2.
	LogicalVolume SliceKind = "lv"
)

// Slice is a part of a disk, or a volume made of parts.
type Slice struct {
	ID        string // "p2", "vg-lv", "whole"
	Kind      SliceKind
	Off       int64 // in the disk; -1 if it is not one run
	Size      int64
	Partition *table.Partition // nil if it is not one
	// Contents are the recognised signatures, the most probable first; none if nothing was
	// recognised.
	Contents []content.Content
	Notes    []string

	src     disk.Source
	drivers []tree.Driver
	options tree.Options

	mu   sync.Mutex
	tree tree.Tree
	err  error
}

// Open finds the slices of a disk. It makes at most 3 requests for the table, and 2 for each slice
// with contents. src must stay open as long as the layout is used.
func Open(ctx context.Context, src formats.Source, opts Options) (*Layout, error) {
	l := &Layout{disk: disk.New(src)}
	if opts.Drivers == nil {
		opts.Drivers = Drivers()
	}
	var err error
	if l.Table, err = table.Read(ctx, l.disk); err != nil {
		return nil, err
	}
	whole := &Slice{ID: "whole", Kind: Whole, Size: src.Size(), src: l.disk}
	if err := whole.recognise(ctx, opts); err != nil {
		return nil, err
	}
	if len(l.Table.Partitions) == 0 || len(whole.Contents) > 0 {
		l.Slices = append(l.Slices, whole)
	}
	for i := range l.Table.Partitions {
		p := &l.Table.Partitions[i]
		part, err := disk.Slice(l.disk, p.Off, p.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.ID, err)
		}
		s := &Slice{ID: p.ID, Kind: Partition, Off: p.Off, Size: p.Size, Partition: p, src: part}
		if err := s.recognise(ctx, opts); err != nil {
			return nil, err
		}
		l.Slices = append(l.Slices, s)
	}
	return l, l.addVolumes(ctx, opts)
}

// recognise finds the contents of a slice.
func (s *Slice) recognise(ctx context.Context, opts Options) error {
	s.drivers, s.options = opts.Drivers, tree.Options{NoReplay: opts.NoReplay}
	if s.Partition != nil && s.Partition.TypeName == "extended" {
		return nil
	}
	var err error
	s.Contents, err = content.Find(ctx, s.src)
	if err == nil && len(s.Contents) == 0 && s.Kind != Whole { // nothing, or a member of an old array
		s.Contents, err = content.FindAtEnd(ctx, s.src)
	}
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, disk.ErrBudget) {
			return err
		}
		s.Notes = append(s.Notes, fmt.Sprintf("its beginning cannot be read: %v", err))
	}
	return nil
}

// Cost returns the requests and bytes that the layout has cost its disk.
func (l *Layout) Cost() disk.Cost { return l.disk.Cost() }

// Slice returns the slice of an ID. A volume of LVM2 is also found as "vg/lv".
func (l *Layout) Slice(id string) (*Slice, bool) {
	for _, s := range l.Slices {
		if s.ID == id || s.Kind == LogicalVolume && sameVolume(s.ID, id) {
			return s, true
		}
	}
	return nil, false
}

// Source returns the bytes of a slice.
func (s *Slice) Source() disk.Source { return s.src }

// Content returns the most probable content; its Type is "" if nothing was recognised.
func (s *Slice) Content() content.Content {
	if len(s.Contents) == 0 {
		return content.Content{}
	}
	return s.Contents[0]
}

// Tree returns the file system of a slice, which is opened at the first call. The error names the
// reason why there is none. A failure because ctx ended or its budget is spent is not kept.
func (s *Slice) Tree(ctx context.Context) (tree.Tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tree != nil || s.err != nil {
		return s.tree, s.err
	}
	t, err := s.open(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.ID, err)
		if ctx.Err() != nil || errors.Is(err, disk.ErrBudget) {
			return nil, err
		}
	}
	s.tree, s.err = t, err
	return t, err
}

// ErrNoFileSystem is the error of a slice whose contents are not a file system.
var ErrNoFileSystem = errors.New("it has no file system")

func (s *Slice) open(ctx context.Context) (tree.Tree, error) {
	claims, err := s.claims(ctx)
	if err != nil {
		return nil, err
	}
	if len(claims) == 0 {
		switch c := s.Content(); c.Kind {
		case content.FileSystem, content.Encrypted:
			return nil, disk.Unsupported(c.Type, "its contents are not read")
		case content.Member, content.Swap:
			return nil, fmt.Errorf("%s: %w", c.Type, ErrNoFileSystem)
		}
		return nil, ErrNoFileSystem
	}
	var failed []error
	for i, d := range claims {
		t, err := d.Open(ctx, s.src, s.options)
		if err == nil {
			for _, other := range claims[i+1:] {
				s.Notes = append(s.Notes, fmt.Sprintf("%s claims it as well; it is read as %s", other.Name(), d.Name()))
			}
			return t, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// claims asks every driver.
func (s *Slice) claims(ctx context.Context) ([]tree.Driver, error) {
	var list []tree.Driver
	for _, d := range s.drivers {
		ok, err := d.Probe(ctx, s.src)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, d)
		}
	}
	return list, nil
}
