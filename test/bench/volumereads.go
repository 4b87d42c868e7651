package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	unwritten = 1000 // so that what both load fits the cache
	clones    = 10
	cloneTime = 0.010 // seconds
)

// volumeReads reads unwritten ranges of a volume beside the same ranges of its image, in turn.
func (b *bench) volumeReads(ctx context.Context) error {
	w, err := b.ourVolume(ctx)
	if err != nil {
		return err
	}
	image := w.disk[:len(w.disk)-len("volumes/one/disk")] + "images/disk/disk"
	var own, volume sample
	err = func() error {
		for round := range b.rounds + 1 { // the first loads, and does not count
			o, v, err := readInTurn(ctx, image, w.disk)
			if err != nil {
				return err
			}
			if round > 0 {
				own.add(o)
				volume.add(v)
			}
		}
		return nil
	}()
	if err := errors.Join(err, w.stop()); err != nil {
		return err
	}
	each := func(s sample) string { return durationText(s.median() / unwritten) }
	b.table.add(atLeast(unwrittenRead, "volume: 4 KiB random reads of what was not written, O_DIRECT, beside the image's own: each", each(volume), each(own), own.over(volume)))
	return nil
}

// readInTurn reads the same places of two disks past the kernel's cache, and sums up what each
// took.
func readInTurn(ctx context.Context, a, b string) (tookA, tookB time.Duration, err error) {
	var files [2]*os.File
	for i, path := range []string{a, b} {
		if files[i], err = os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0); err != nil {
			return 0, 0, err
		}
		defer files[i].Close()
	}
	p, free, err := alignedBuffer(smallRead)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, free()) }()
	var took [2]time.Duration
	for n, place := range rand.New(rand.NewPCG(6, 7)).Perm(diskSize / smallRead)[:unwritten] {
		for i := range files {
			i = (i + n) % 2
			start := time.Now()
			if _, err := files[i].ReadAt(p, int64(place)*smallRead); err != nil {
				return 0, 0, err
			}
			took[i] += time.Since(start)
		}
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
	}
	return took[0], took[1], nil
}

// volumeClones clones an image of a TiB: what counts is the write to its control file.
func (b *bench) volumeClones(ctx context.Context) error {
	d, stop, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	var took sample
	err = func() error {
		if err := d.registerEmpty(b, terabyte); err != nil {
			return err
		}
		for i := range clones {
			start := time.Now()
			if err := d.imageCommand("empty", "clone", fmt.Sprintf("clone-%d", i)); err != nil {
				return err
			}
			took.add(time.Since(start))
		}
		return nil
	}()
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	b.table.add(
		atMost(cloneTime, "volume: clone of an image of 1 TiB", "", took.median(), durationText),
		row{what: "… the slowest of 10", ours: durationText(took.quantile(1))},
	)
	return nil
}
