package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	verbs "github.com/imsfs/imsfs/lifecycle/command"
)

// usualCache is the cache size that is measured with; see memory.go for another.
const usualCache = 256 << 20

// daemon is a running imsfs serve.
type daemon struct {
	mount string
	ready time.Duration // from its start until it served
	cmd   *exec.Cmd
	log   *os.File
	cache int64
	peaks peaks
}

// serve starts a daemon over a store, which may be new. Stop it.
func (b *bench) serve(ctx context.Context, store string, cacheSize int64) (*daemon, error) {
	mount, err := os.MkdirTemp(b.dir, "mount-")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	defer r.Close()
	// Not ended by ctx, but by stop: it has a mount to take away.
	cmd := command(context.WithoutCancel(ctx), b.imsfs, "serve", mount, "--store", store, "--cache-size", fmt.Sprint(cacheSize), "--ready-fd", "3")
	cmd.Stderr, cmd.ExtraFiles = log, []*os.File{w}
	start := time.Now()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	said, err := io.ReadAll(r)
	d := &daemon{mount, time.Since(start), cmd, log, cacheSize, b.peaks}
	if err != nil || string(said) != "ready" {
		return nil, errors.Join(fmt.Errorf("imsfs serve said %q", said), err, d.end())
	}
	return d, nil
}

// stop ends the daemon, and notes the most memory it had.
func (d *daemon) stop() error {
	hwm, err := statusBytes(d.cmd.Process.Pid, "VmHWM")
	d.peaks.note(d.cache, hwm)
	return errors.Join(err, d.end())
}

func (d *daemon) end() error {
	d.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended: Wait tells
	kill := time.AfterFunc(patience, func() { d.cmd.Process.Kill() })
	defer kill.Stop()
	err := d.cmd.Wait()
	if err != nil {
		tail, _ := os.ReadFile(d.log.Name())
		err = fmt.Errorf("imsfs serve: %w: %s", err, tail)
	}
	return errors.Join(err, d.log.Close(), detach(d.mount), os.Remove(d.mount))
}

// command writes one line to the store's control file, as echo would.
func (d *daemon) command(words ...string) error {
	return d.write(filepath.Join(d.mount, "ctl"), words...)
}

// imageCommand writes one line to an image's control file.
func (d *daemon) imageCommand(image string, words ...string) error {
	return d.write(filepath.Join(d.mount, "images", image, "ctl"), words...)
}

func (d *daemon) write(ctl string, words ...string) error {
	f, err := os.OpenFile(ctl, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(verbs.Quote(words...)); err != nil {
		answer, _ := io.ReadAll(f)
		return fmt.Errorf("%w: %s", err, answer)
	}
	return nil
}

// disk is the path of an image's disk.
func (d *daemon) disk(image string) string { return filepath.Join(d.mount, "images", image, "disk") }

// served is a disk file that a process serves; stop ends that.
type served struct {
	disk string
	pid  int
	stop func() error
}

// ours serves an image by a daemon of its own, with a new store: nothing of it is in any memory.
func (b *bench) ours(ctx context.Context, image string) (served, error) {
	store, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return served{}, err
	}
	d, err := b.serve(ctx, store, usualCache)
	if err != nil {
		return served{}, errors.Join(err, os.RemoveAll(store))
	}
	stop := func() error { return errors.Join(d.stop(), os.RemoveAll(store)) }
	if err := d.command("register", "disk", image); err != nil {
		return served{}, errors.Join(err, stop())
	}
	return served{d.disk("disk"), d.cmd.Process.Pid, stop}, nil
}
