// Package index keeps the indexes of images without random access of their own (formats.Indexed), so
// that each is made by one pass over its source and never again.
//
// An index is a file in a directory of the store, named by the image's number. It is written under
// another name, synced and renamed, so it appears whole or not at all. Only speed depends on it: a
// caller that finds an index damaged, or another image's, removes it and makes it again. The caller
// also decides the images' numbers, and when a pass is made.
package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source/file"
)

const (
	ending     = ".index"
	unfinished = ".new" // follows the ending
)

// Dir is a directory of indexes. It is safe for concurrent use, but an index must not be made twice
// at once.
type Dir struct{ path string }

// Open returns the directory at path, and makes it if it is missing. There must be no other Dir of it.
func Open(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, fmt.Errorf("indexes: %w", err)
	}
	return &Dir{path}, nil
}

func (d *Dir) file(image uint64) string {
	return filepath.Join(d.path, strconv.FormatUint(image, 10)+ending)
}

// Has reports whether an image has an index. Only Use shows whether the index is good.
func (d *Dir) Has(image uint64) bool {
	info, err := os.Stat(d.file(image))
	return err == nil && info.Mode().IsRegular()
}

// Use makes an image use its index. The caller must close the index after the image. It returns
// iofs.ErrNotExist if the image has none, and formats.ErrCorrupt after it removed a bad one.
func (d *Dir) Use(ctx context.Context, image uint64, img formats.Indexed) (io.Closer, error) {
	f, err := file.Open(ctx, d.file(image))
	if err != nil {
		return nil, err
	}
	if err := img.UseIndex(ctx, f); err != nil {
		err = fmt.Errorf("%s: %w", d.file(image), errors.Join(err, f.Close()))
		if errors.Is(err, formats.ErrCorrupt) {
			err = errors.Join(err, d.Remove(image))
		}
		return nil, err
	}
	return f, nil
}

// Make makes the index of an image by a pass over its source, and replaces an old one.
func (d *Dir) Make(ctx context.Context, image uint64, img formats.Indexed) error {
	path := d.file(image)
	if err := d.write(ctx, path+unfinished, img); err != nil {
		return errors.Join(err, remove(path+unfinished))
	}
	if err := os.Rename(path+unfinished, path); err != nil {
		return err
	}
	return d.sync()
}

func (d *Dir) write(ctx context.Context, path string, img formats.Indexed) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at := int64(0)
	err = img.BuildIndex(ctx, func(p []byte) error {
		off := at
		at += int64(len(p))
		if formats.IsZero(p) { // most of an index is unused room
			return nil
		}
		_, err := f.WriteAt(p, off)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.Truncate(at); err != nil {
		return err
	}
	return f.Sync()
}

// Remove deletes the index of an image, if there is one. An image that uses it goes on.
func (d *Dir) Remove(image uint64) error { return remove(d.file(image)) }

// Sweep deletes all files but the indexes of known images: also those that a kill left unfinished.
func (d *Dir) Sweep(known func(image uint64) bool) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ending)
		image, err := strconv.ParseUint(number, 10, 64)
		if ok && err == nil && filepath.Base(d.file(image)) == e.Name() && known(image) {
			continue
		}
		if err := remove(filepath.Join(d.path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}
