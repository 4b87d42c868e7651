package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
)

const (
	largeSize    = 1 << 40
	registerGoal = 0.020 // seconds from register to the first byte
	registers    = 20
)

// register measures how long it takes from registering a large image to its first byte.
func (b *bench) register(ctx context.Context) (err error) {
	sparse, err := sparseDisk(filepath.Join(b.dir, "large.raw"))
	if err != nil {
		return err
	}
	nearlyEmpty, qcow2, full := filepath.Join(b.dir, "large.zvhd2"), filepath.Join(b.dir, "large.qcow2"), filepath.Join(b.dir, "full.zvhd2")
	defer func() {
		for _, path := range []string{sparse, nearlyEmpty, qcow2, full} {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	if _, err := output(command(ctx, b.imsfs, "convert", "-f", "raw", "-O", "zvhd2", sparse, nearlyEmpty)); err != nil {
		return err
	}
	if _, err := output(toQcow2(ctx, sparse, qcow2)); err != nil {
		return err
	}
	if err := fullIndex(ctx, full); err != nil {
		return err
	}
	return b.registerRows(ctx, nearlyEmpty, qcow2, full)
}

func (b *bench) registerRows(ctx context.Context, nearlyEmpty, qcow2, full string) error {
	store := filepath.Join(b.dir, "large")
	d, err := b.serve(ctx, store, usualCache)
	if err != nil {
		return err
	}
	empty, err1 := d.firstBytes(ctx, nearlyEmpty, warm)
	cold, err2 := d.firstBytes(ctx, nearlyEmpty, forget)
	whole, err3 := d.firstBytes(ctx, full, warmIndex)
	client, err4 := b.clientFirstByte(ctx, d, nearlyEmpty)
	if err := errors.Join(err1, err2, err3, err4, d.stop()); err != nil {
		return err
	}
	peer, err := b.peerFirstByte(ctx, qcow2)
	if err != nil {
		return err
	}
	peerText := durationText(peer.median()) + " with its start"
	b.table.add(
		atMost(registerGoal, "register to the first byte, 1 TiB, nearly empty", peerText, empty.median(), durationText),
		row{what: "… the slowest of 20", ours: durationText(empty.quantile(1))},
		row{what: "… with the image not in the host's page cache", ours: durationText(cold.median())},
		row{what: "… by the command imsfs register", ours: durationText(client.median())},
		atMost(registerGoal, "register to the first byte, 1 TiB, every block stored", "", whole.median(), durationText),
		row{what: "… the slowest of 20", ours: durationText(whole.quantile(1))},
	)
	return nil
}

// firstBytes registers an image again and again, each time under a new name, reads the first byte,
// and deletes it.
func (d *daemon) firstBytes(ctx context.Context, image string, prepare func(string) error) (sample, error) {
	var s sample
	for range registers {
		if err := errors.Join(prepare(image), ctx.Err()); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := d.command("register", "large", image); err != nil {
			return nil, err
		}
		if err := readFirst(d.disk("large")); err != nil {
			return nil, err
		}
		s.add(time.Since(start))
		if err := d.imageCommand("large", "delete"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (b *bench) clientFirstByte(ctx context.Context, d *daemon, image string) (sample, error) {
	var s sample
	for range registers {
		start := time.Now()
		disk, err := output(command(ctx, b.imsfs, "register", "--mount", d.mount, "large", image))
		if err != nil {
			return nil, err
		}
		if err := readFirst(strings.TrimSpace(disk)); err != nil {
			return nil, err
		}
		s.add(time.Since(start))
		if err := d.imageCommand("large", "delete"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// peerFirstByte includes the start of the peer's process: that is how it takes an image on.
func (b *bench) peerFirstByte(ctx context.Context, image string) (sample, error) {
	var s sample
	for range b.rounds {
		start := time.Now()
		peer, err := b.peer(ctx, image)
		if err != nil {
			return nil, err
		}
		err = readFirst(peer.disk)
		s.add(time.Since(start))
		if err := errors.Join(err, peer.stop()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func readFirst(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	p := make([]byte, 1)
	if _, err := f.ReadAt(p, 0); err != nil {
		return err
	}
	if p[0] != mark {
		return fmt.Errorf("%s begins with %#x, and not with %#x", path, p[0], mark)
	}
	return nil
}

// forget drops a file from the host's page cache; it must have been synced.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// mark is the first byte of the large disks.
const mark = 'm'

// sparseDisk makes a raw disk of 1 TiB with a few pieces of data.
func sparseDisk(path string) (_ string, err error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	piece := filled()
	for off := int64(0); off < largeSize; off += 100 << 30 {
		if _, err := f.WriteAt(piece, off); err != nil {
			return "", err
		}
	}
	return path, f.Truncate(largeSize)
}

func filled() []byte {
	p := make([]byte, 2<<20)
	for i := range p {
		p[i] = mark
	}
	return p
}

// fullIndex makes a ZVHD2 image of 1 TiB, by the driver, whose tables list every block as stored. The
// tables, which opening reads, are complete. The first chunk is there, and the others are holes.
func fullIndex(ctx context.Context, path string) (err error) {
	driver, err := all.Formats().Named("zvhd2")
	if err != nil {
		return err
	}
	enc, err := driver.(formats.Creator).Create(largeSize, formats.CreateOptions{})
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	chunk, err := enc.Encode(nil, filled()[:enc.ClusterSize()], 0)
	if err != nil {
		return err
	}
	for ci := range largeSize / enc.ClusterSize() {
		off, err := enc.Place(ci, len(chunk))
		if err != nil {
			return err
		}
		if ci > 0 {
			continue
		}
		if _, err := f.WriteAt(chunk, off); err != nil {
			return err
		}
	}
	return errors.Join(enc.Finish(ctx, f), f.Sync())
}

// warmIndex reads the end of a file, where the tables are: reading all its holes would only take
// time.
func warmIndex(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := make([]byte, min(16<<20, info.Size()))
	_, err = f.ReadAt(p, info.Size()-int64(len(p)))
	return err
}
