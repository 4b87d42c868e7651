package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// commitStall is the longest time, in seconds, that a writer may wait for a commit to freeze its
// disk.
const commitStall = 50e-3

// volumeStall measures a writer of random 4 KiB, as fast as it can, during a commit of 256 MiB and
// without one.
func (b *bench) volumeStall(ctx context.Context) error {
	var before, during pace
	for range b.rounds {
		if err := b.stalled(ctx, &before, &during); err != nil {
			return err
		}
	}
	text := func(v float64) string { return durationText(v) }
	b.table.add(
		row{"volume: 4 KiB random writes in the second before a commit: the longest", text(before.longest.median()), "", "", "", ""},
		atMost(commitStall, "… while 256 MiB are committed", "", during.longest.median(), text),
		row{"… how many a second, before and meanwhile", fmt.Sprintf("%.0f and %.0f", before.rate.median(), during.rate.median()), "", "", "", ""},
	)
	return nil
}

// pace is how a writer got on, in all rounds.
type pace struct{ longest, rate sample }

func (b *bench) stalled(ctx context.Context, before, during *pace) (err error) {
	d, stop, err := b.changedVolume(ctx, diskSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	f, err := directWriter(d.volume("one", "disk"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	second, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := before.write(second, f); err != nil {
		return err
	}
	whole, committed := context.WithCancel(ctx)
	defer committed()
	wrote := make(chan error, 1)
	go func() { wrote <- during.write(whole, f) }()
	err = d.write(d.volume("one", "ctl"), "commit", "next")
	if err == nil {
		_, err = d.jobDone(ctx, d.volume("one", "job"), time.Now())
	}
	committed()
	return errors.Join(err, <-wrote)
}

// write writes until ctx ends, and notes how long one took at most.
func (p *pace) write(ctx context.Context, f *os.File) (err error) {
	buf, free, err := alignedBuffer(smallRead)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	noise(buf)
	n, longest, start := 0, time.Duration(0), time.Now()
	for ; ctx.Err() == nil; n++ {
		begun := time.Now()
		if _, err := f.WriteAt(buf, rand.Int64N(diskSize/smallRead)*smallRead); err != nil {
			return err
		}
		longest = max(longest, time.Since(begun))
	}
	p.longest.add(longest)
	p.rate = append(p.rate, float64(n)/time.Since(start).Seconds())
	return nil
}
