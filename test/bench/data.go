package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// diskSize is that of the disk which is read: a whole GiB, so that all its forms have the same
// size.
const diskSize = 1 << 30

// dataset is one disk in three forms.
type dataset struct {
	dir               string
	raw, zvhd2, qcow2 string
	real              int64 // bytes of it that are files; the rest is zeros
}

// make writes the files that are missing: a tar of real files, in an order that does not depend on
// that of the directories.
func (d *dataset) make(ctx context.Context, b *bench) error {
	d.raw, d.zvhd2, d.qcow2 = filepath.Join(d.dir, "data.raw"), filepath.Join(d.dir, "data.zvhd2"), filepath.Join(d.dir, "data.qcow2")
	d.real = diskSize
	if missing(d.raw) {
		n, err := tarTo(ctx, d.raw, "/usr")
		if err != nil {
			return err
		}
		d.real = n
	}
	if missing(d.zvhd2) {
		if _, err := output(command(ctx, b.imsfs, "convert", "-f", "raw", "-O", "zvhd2", d.raw, d.zvhd2)); err != nil {
			return err
		}
	}
	if missing(d.qcow2) {
		if _, err := output(toQcow2(ctx, d.raw, d.qcow2)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dataset) String() string {
	text := fmt.Sprintf("%s of a tar of /usr", bytesText(d.real))
	for _, path := range []string{d.zvhd2, d.qcow2} {
		if info, err := os.Stat(path); err == nil {
			text += fmt.Sprintf(", %s as %s", bytesText(info.Size()), filepath.Ext(path)[1:])
		}
	}
	return text
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}

// tarTo writes the first diskSize bytes of a tar of dir, or all of it and zeros, and returns how
// many there were.
func tarTo(ctx context.Context, path, dir string) (n int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := command(ctx, "tar", "--sort=name", "--create", "--file=-", "--directory=/", filepath.Base(dir))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n, err = io.CopyN(f, out, diskSize)
	cancel()   // it has more to tell than there is room for
	cmd.Wait() // and so it does not end well
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("tar of %s: nothing came", dir)
	}
	return n, errors.Join(f.Truncate(diskSize), f.Sync())
}

// warm reads a file, so that it is in the host's page cache.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}
