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

// with runs a measurement on a rival's disk. Daemon and mount are new, so neither the kernel nor
// the daemon has any of the disk. The image file is in the host's page cache, so that the
// measurement is of finding, decoding and delivering, and not of the machine's storage.
func (r rival) with(ctx context.Context, measure func(served) error) error {
	if err := warm(r.image); err != nil {
		return err
	}
	s, err := r.start(ctx, r.image)
	if err != nil {
		return err
	}
	return errors.Join(measure(s), s.stop())
}

// sequential reads the whole disk twice: cold, and then from the kernel's page cache, or whatever
// the rival has.
func (b *bench) sequential(ctx context.Context) error {
	ours, peer := b.rivals()
	for _, r := range []rival{ours, peer} { // first check the bytes
		if err := r.with(ctx, func(s served) error { return b.equal(ctx, s.disk) }); err != nil {
			return err
		}
	}
	var o, p passes
	for range b.rounds {
		if err := ours.with(ctx, func(s served) error { return o.measure(ctx, s) }); err != nil {
			return err
		}
		if err := peer.with(ctx, func(s served) error { return p.measure(ctx, s) }); err != nil {
			return err
		}
	}
	b.table.add(
		atLeast(1.3, "sequential, cold, dd bs=1M", o.cold.rateText(diskSize), p.cold.rateText(diskSize), p.cold.over(o.cold)),
		row{what: "… processor time of the server", ours: durationText(o.cpu.median()), peer: durationText(p.cpu.median()), ratio: p.cpu.over(o.cpu).ratioText()},
		atLeast(8, "sequential, again", o.again.rateText(diskSize), p.again.rateText(diskSize), p.again.over(o.again)),
	)
	return nil
}

// passes is one rival's passes over the disk in all rounds, and the processor time of the first.
type passes struct{ cold, cpu, again sample }

func (p *passes) measure(ctx context.Context, s served) error {
	before, err := processorTime(s.pid)
	if err != nil {
		return err
	}
	cold, err := dd(ctx, s.disk)
	if err != nil {
		return err
	}
	after, err := processorTime(s.pid)
	if err != nil {
		return err
	}
	again, err := dd(ctx, s.disk)
	if err != nil {
		return err
	}
	p.cold.add(cold)
	p.cpu.add(after - before)
	p.again.add(again)
	return nil
}

func dd(ctx context.Context, disk string) (time.Duration, error) {
	return timed(command(ctx, "dd", "if="+disk, "of=/dev/null", "bs=1M", "status=none"))
}

// equal returns an error if a disk's bytes are not the data.
func (b *bench) equal(ctx context.Context, disk string) error {
	_, err := output(command(ctx, "cmp", disk, b.data.raw))
	return err
}
