// Package index keeps the indexes of images that have no random access of their own (formats.Indexed), so that each is made
// by one pass over its source and never again.
//
// An index is a file in a directory of the store, called after the number of the image. It appears whole or not at all: it is written
// under another name, synced and renamed. Nothing depends on it but speed, so who opens one that is damaged or is of
// something else drops it and makes it again. Which image has which number, and when a pass is made, is for
// others to know.
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
	unfinished = ".new" // behind the ending
)

// Dir is a directory of indexes. It is safe for concurrent use; an index is made by one at a time.
type Dir struct{ path string }

// Open returns the directory at path, which it makes if there is none. There must be no other Dir of it.
func Open(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, fmt.Errorf("indexes: %w", err)
	}
	return &Dir{path}, nil
}

func (d *Dir) file(image uint64) string {
	return filepath.Join(d.path, strconv.FormatUint(image, 10)+ending)
}

// Has tells whether there is an index of an image. Whether it is good shows when it is used.
func (d *Dir) Has(image uint64) bool {
	info, err := os.Stat(d.file(image))
	return err == nil && info.Mode().IsRegular()
}

// Use makes an image use its index, which is to be closed after it. iofs.ErrNotExist if there is none, ErrCorrupt if there
// was none of this image's.
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

// Make makes the index of an image, by a pass over its source. One that there is already is replaced.
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
		if formats.IsZero(p) { // most of an index is room for what might have been
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

// Remove deletes the index of an image, if there is one. Who uses it goes on doing so.
func (d *Dir) Remove(image uint64) error { return remove(d.file(image)) }

// Sweep deletes what is not the index of an image that is known, of those that a kill left unfinished too.
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
