package main

import (
	"context"
	"errors"
	"time"
)

// rival is one of the two that take turns.
type rival struct {
	start func(context.Context, string) (served, error)
	image string
}

func (b *bench) rivals() (ours, peer rival) {
	return rival{b.ours, b.data.zvhd2}, rival{b.peer, b.data.qcow2}
}

// with runs a measurement on what a rival serves. The daemon and the mount are new, so neither the kernel nor the
// daemon has anything of the disk, while the image file itself is in the host's page cache: what is measured is finding,
// decoding and delivering, not the machine's storage.
func (r rival) with(ctx context.Context, measure func(disk string) error) error {
	if err := warm(r.image); err != nil {
		return err
	}
	s, err := r.start(ctx, r.image)
	if err != nil {
		return err
	}
	return errors.Join(measure(s.disk), s.stop())
}

// sequential reads the whole disk twice: cold, and then from the kernel's page cache, or whatever the rival has.
func (b *bench) sequential(ctx context.Context) error {
	ours, peer := b.rivals()
	for _, r := range []rival{ours, peer} { // what is served wrongly need not be fast
		if err := r.with(ctx, func(disk string) error { return b.equal(ctx, disk) }); err != nil {
			return err
		}
	}
	var oursCold, oursWarm, peerCold, peerWarm sample
	for range b.rounds {
		if err := ours.with(ctx, func(disk string) error { return twice(ctx, disk, &oursCold, &oursWarm) }); err != nil {
			return err
		}
		if err := peer.with(ctx, func(disk string) error { return twice(ctx, disk, &peerCold, &peerWarm) }); err != nil {
			return err
		}
	}
	b.table.add(
		atLeast(1.3, "sequential, cold, dd bs=1M", oursCold.rateText(diskSize), peerCold.rateText(diskSize), peerCold.over(oursCold)),
		atLeast(8, "sequential, again", oursWarm.rateText(diskSize), peerWarm.rateText(diskSize), peerWarm.over(oursWarm)),
	)
	return nil
}

func twice(ctx context.Context, disk string, first, second *sample) error {
	for _, s := range []*sample{first, second} {
		d, err := dd(ctx, disk)
		if err != nil {
			return err
		}
		s.add(d)
	}
	return nil
}

func dd(ctx context.Context, disk string) (time.Duration, error) {
	return timed(command(ctx, "dd", "if="+disk, "of=/dev/null", "bs=1M", "status=none"))
}

// equal tells whether a disk is the data that was put in.
func (b *bench) equal(ctx context.Context, disk string) error {
	_, err := output(command(ctx, "cmp", disk, b.data.raw))
	return err
}
