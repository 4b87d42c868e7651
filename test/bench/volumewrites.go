package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

const (
	randomWrites = 8000
	writers      = 4
	syncedWrites = 200
	streamed     = 256 << 20
	costed       = 1000 // first writes whose space is measured
)

// volumeWrites writes to a new volume each round, ours and the peer's in turn.
func (b *bench) volumeWrites(ctx context.Context) error {
	var ours, peer writes
	for range b.rounds {
		for to, start := range map[*writes]func(context.Context) (writable, error){&ours: b.ourVolume, &peer: b.peerVolume} {
			if err := warm(b.data.raw); err != nil {
				return err
			}
			w, err := start(ctx)
			if err != nil {
				return err
			}
			if err := errors.Join(to.measure(ctx, w), w.stop()); err != nil {
				return err
			}
		}
	}
	each := func(s sample, n int) string { return durationText(s.median() / float64(n)) }
	row := func(want float64, what string, n int, of func(*writes) sample) row {
		o, p := of(&ours), of(&peer)
		return atLeast(want, what, each(o, n), each(p, n), p.over(o))
	}
	b.table.add(
		row(writesSpeed, "volume: 4 KiB random writes, O_DIRECT, one after the other, first: each", randomWrites, func(w *writes) sample { return w.first }),
		row(writesSpeed, "… the same places again", randomWrites, func(w *writes) sample { return w.again }),
		row(writesSpeed, "… other places, 4 writers", randomWrites, func(w *writes) sample { return w.four }),
		row(syncedSpeed, "… each of them synced, first", syncedWrites, func(w *writes) sample { return w.synced }),
		row(syncedSpeed, "… each of them synced, where it was written before", syncedWrites, func(w *writes) sample { return w.syncedAgain }),
		atLeast(writesSpeed, "volume: sequential write, O_DIRECT, 1 MiB each", ours.stream.rateText(streamed), peer.stream.rateText(streamed), peer.stream.over(ours.stream)),
		atMost(firstCost, "volume: a first write of 4 KiB takes on the host", fmt.Sprintf("%.1f KiB", peer.cost.median()/1024), ours.cost.median(),
			func(v float64) string { return fmt.Sprintf("%.1f KiB", v/1024) }),
	)
	return nil
}

// writes is what one rival took, in all rounds.
type writes struct{ synced, first, again, four, syncedAgain, stream, cost sample }

func (w *writes) measure(ctx context.Context, on writable) (err error) {
	f, err := directWriter(on.disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := diskUsage(on.delta)
	if err != nil {
		return err
	}
	places := rand.New(rand.NewPCG(3, 4)).Perm((diskSize - streamed) / smallRead) // the same for everybody, no place twice
	take := func(n int) []int {
		taken := places[:n]
		places = places[n:]
		return taken
	}
	if err := errors.Join(writeEach(ctx, f, take(costed), false), f.Sync()); err != nil {
		return err
	}
	after, err := diskUsage(on.delta)
	if err != nil {
		return err
	}
	w.cost = append(w.cost, float64(after-before)/costed)
	some := take(randomWrites)
	for _, part := range []struct {
		to *sample
		do func() error
	}{
		{&w.synced, func() error { return writeEach(ctx, f, take(syncedWrites), true) }},
		{&w.first, func() error { return writeEach(ctx, f, some, false) }},
		{&w.again, func() error { return writeEach(ctx, f, some, false) }},
		{&w.four, func() error { return writeMany(ctx, f, take(randomWrites)) }},
		{&w.syncedAgain, func() error { return writeEach(ctx, f, some[:syncedWrites], true) }},
		{&w.stream, func() error { return writeStream(ctx, f) }},
	} {
		start := time.Now()
		if err := part.do(); err != nil {
			return err
		}
		part.to.add(time.Since(start))
		if err := f.Sync(); err != nil { // so that one part does not pay for another
			return err
		}
	}
	return nil
}

// writeEach writes 4 KiB of noise to each place.
func writeEach(ctx context.Context, f *os.File, places []int, synced bool) (err error) {
	p, free, err := alignedBuffer(smallRead)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	noise(p)
	for _, place := range places {
		if _, err := f.WriteAt(p, int64(place)*smallRead); err != nil {
			return err
		}
		if synced {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// writeMany is writeEach by several goroutines at once. They share the open file, because a volume
// has one writer.
func writeMany(ctx context.Context, f *os.File, places []int) error {
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		n := len(places) / writers
		all.Go(func() { errs[i] = writeEach(ctx, f, places[i*n:][:n], false) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// writeStream writes the disk's end, from which nothing else is written.
func writeStream(ctx context.Context, f *os.File) (err error) {
	p, free, err := alignedBuffer(1 << 20)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	noise(p)
	for off := int64(diskSize - streamed); off < diskSize; off += int64(len(p)) {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func noise(p []byte) {
	rand.NewChaCha8([32]byte{5}).Read(p) // never fails
}
