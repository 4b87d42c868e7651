package treetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Bounds of what Dump reads of a damaged image.
const (
	dumpFiles = 20000
	dumpBytes = 1 << 20 // of the beginning and of the end of a file
)

// Dump writes a tree as text, a line a file, and reads all that belongs to each file: target,
// attributes, map, the beginning and the end of its data. Damage is a line as well; the error joins
// all that is not a kind of damage.
func Dump(ctx context.Context, w io.Writer, tr tree.Tree) error {
	info := tr.Info()
	fmt.Fprintf(w, "%+v\n", info)
	var failed []error
	failure := func(f tree.File, err error) {
		fmt.Fprintf(w, "%q: %v\n", f.Path, err)
		if !harmless(err) {
			failed = append(failed, fmt.Errorf("%q: %w", f.Path, err))
		}
	}
	files := 0
	err := tree.Walk(ctx, tr, tr.Root(), func(f tree.File, err error) error {
		if files++; files > dumpFiles {
			return errEnough
		}
		if err != nil {
			failure(f, err)
			return nil
		}
		fmt.Fprintf(w, "%q %o %d:%d %d %v\n", f.Path, f.Attr.Mode, f.Attr.UID, f.Attr.GID, f.Attr.Size, f.Attr.Mtime)
		for _, err := range touch(ctx, w, tr, f) {
			if err != nil {
				failure(f, err)
			}
		}
		return nil
	})
	if subvolumes, ok := tr.(tree.Subvolumer); ok {
		list, err := subvolumes.Subvolumes(ctx)
		fmt.Fprintf(w, "%+v %v\n", list, err)
		if err != nil && !harmless(err) {
			failed = append(failed, err)
		}
	}
	if err != nil && err != errEnough && !harmless(err) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

var errEnough = errors.New("enough was dumped")

// harmless reports whether an error is one that damage may cause.
func harmless(err error) bool {
	return errors.Is(err, disk.ErrCorrupt) || errors.Is(err, disk.ErrUnsupported) || errors.Is(err, disk.ErrBudget) ||
		errors.Is(err, tree.ErrLimit) || errors.Is(err, tree.ErrLoop)
}

// touch reads what belongs to one file. Each error is one of its parts, nil or not.
func touch(ctx context.Context, w io.Writer, tr tree.Tree, f tree.File) []error {
	xattrs, err := tree.Xattrs(ctx, tr, f.Attr.ID)
	for _, x := range xattrs {
		fmt.Fprintf(w, "\t%q %x\n", x.Name, x.Value)
	}
	errs := []error{err}
	switch f.Attr.Type() {
	case tree.TypeLink:
		target, err := tree.Readlink(ctx, tr, f.Attr.ID)
		fmt.Fprintf(w, "\t-> %q\n", target)
		errs = append(errs, err)
	case tree.TypeFile:
		errs = append(errs, touchMap(ctx, tr, f.Attr), touchData(ctx, tr, f.Attr))
	case tree.TypeDir:
		_, err := tree.Lookup(ctx, tr, f.Attr.ID, []byte("no such name"))
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errs
}

// touchMap follows at most 1,000 runs of a file.
func touchMap(ctx context.Context, tr tree.Tree, a tree.Attr) error {
	off := int64(0)
	for range 1000 {
		if off >= a.Size {
			break
		}
		e, err := tree.Extent(ctx, tr, a.ID, off, a.Size-off)
		if err != nil {
			return err
		}
		off = e.End()
	}
	return nil
}

func touchData(ctx context.Context, tr tree.Tree, a tree.Attr) error {
	if a.Size < 0 {
		return fmt.Errorf("a size of %d", a.Size)
	}
	p := make([]byte, min(a.Size, dumpBytes))
	for _, off := range []int64{0, a.Size - int64(len(p))} {
		if n, err := tr.ReadAt(ctx, a.ID, p, off); err != nil && err != io.EOF {
			return err
		} else if n != len(p) {
			return fmt.Errorf("[%d, +%d) of %d: %d bytes, %v", off, len(p), a.Size, n, err)
		}
	}
	return nil
}
