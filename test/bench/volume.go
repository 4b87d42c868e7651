package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The wanted ratios of volumes, beside a qcow2 overlay. Both lie over the same raw file, which is the
// best case for the peer.
const (
	writesSpeed   = 1.0
	syncedSpeed   = 0.8
	unwrittenRead = 0.95    // times the image's own speed
	firstCost     = 8 << 10 // bytes on the host
)

// volume measures writable disks; volumecommit.go has a section of its own.
func (b *bench) volume(ctx context.Context) error {
	for _, part := range []func(context.Context) error{b.volumeWrites, b.volumeReads, b.volumeClones} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writable is a disk to write to, and the host's directory with its bytes.
type writable struct {
	served
	delta string
}

// ourVolume is a clone of the data, by a daemon and a store of its own.
func (b *bench) ourVolume(ctx context.Context) (writable, error) {
	d, stop, err := b.fresh(ctx)
	if err != nil {
		return writable{}, err
	}
	err = d.command("register", "disk", b.data.raw, "format=raw")
	if err == nil {
		err = d.imageCommand("disk", "clone", "one")
	}
	if err != nil {
		return writable{}, errors.Join(err, stop())
	}
	return writable{served{d.volume("one", "disk"), d.cmd.Process.Pid, stop}, filepath.Join(d.store, "volumes")}, nil
}

// fresh is a daemon with a new store, which goes when it is stopped.
func (b *bench) fresh(ctx context.Context) (*storeDaemon, func() error, error) {
	store, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return nil, nil, err
	}
	d, err := b.serve(ctx, store, usualCache)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(store))
	}
	return &storeDaemon{d, store}, func() error { return errors.Join(d.stop(), os.RemoveAll(store)) }, nil
}

// storeDaemon is a daemon whose store is known.
type storeDaemon struct {
	*daemon
	store string
}

// volume is the path of one of a volume's files.
func (d *daemon) volume(name, file string) string {
	return filepath.Join(d.mount, "volumes", name, file)
}

// peerVolume is a qcow2 overlay over the data.
func (b *bench) peerVolume(ctx context.Context) (writable, error) {
	overlay := filepath.Join(b.dir, "overlay.qcow2")
	_, err := output(command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", b.data.raw, "-F", "raw", overlay))
	if err != nil {
		return writable{}, err
	}
	s, err := b.export(ctx,
		"--blockdev", "node-name=base,driver=file,read-only=on,filename="+b.data.raw,
		"--blockdev", "node-name=raw,driver=raw,read-only=on,file=base",
		"--blockdev", "node-name=f,driver=file,filename="+overlay,
		"--blockdev", "node-name=q,driver=qcow2,file=f,backing=raw,discard=unmap",
		"--export", "writable=on")
	if err != nil {
		return writable{}, errors.Join(err, os.Remove(overlay))
	}
	stop := s.stop
	s.stop = func() error { return errors.Join(stop(), os.Remove(overlay)) }
	return writable{s, overlay}, nil
}

// directWriter opens a disk as a virtual machine without a host cache does.
func directWriter(disk string) (*os.File, error) {
	return os.OpenFile(disk, os.O_RDWR|unix.O_DIRECT, 0)
}

// alignedBuffer is memory as O_DIRECT wants it; free it.
func alignedBuffer(n int) (p []byte, free func() error, err error) {
	p, err = unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, fmt.Errorf("memory: %w", err)
	}
	return p, func() error { return unix.Munmap(p) }, nil
}
