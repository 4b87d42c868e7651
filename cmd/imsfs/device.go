package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func isBlockDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&(iofs.ModeDevice|iofs.ModeCharDevice) == iofs.ModeDevice
}

// convertToDevice writes the disk's bytes over the start of a block device.
func convertToDevice(ctx context.Context, env *environment, opts convertOptions, img *imageFile, path string) (err error) {
	if !opts.force {
		return fmt.Errorf("%s: is a block device: --force writes over what it holds", path)
	}
	device, err := openDevice(path, img)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	sum, err := streamTo(ctx, env, opts, img, path, device)
	if err != nil {
		return explainFull(err)
	}
	if err := device.Sync(); err != nil {
		return err
	}
	if opts.sha256 {
		fmt.Fprintf(env.stdout, "%x  %s\n", sum, path)
	}
	return nil
}

// openDevice opens a block device for the disk img, unless something else uses it.
func openDevice(path string, img *imageFile) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	for _, source := range img.paths() {
		if src, err := os.Stat(source); err == nil && os.SameFile(info, src) {
			return nil, fmt.Errorf("%s: is the source itself", path)
		}
	}
	device, err := os.OpenFile(path, os.O_WRONLY|os.O_EXCL, 0) // O_EXCL: not while it is mounted or part of another device
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s: is in use: unmount it, or take it out of the device that it is part of, first", path)
	}
	if err != nil {
		return nil, err
	}
	room, err := device.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = device.Seek(0, io.SeekStart)
	}
	if size := img.Info().Size; err == nil && room < size {
		err = fmt.Errorf("%s: has %d bytes, the disk has %d", path, room, size)
	}
	if err != nil {
		return nil, errors.Join(err, device.Close())
	}
	return device, nil
}
