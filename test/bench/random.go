package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

const (
	smallRead  = 4 << 10
	firstReads = 1000
	otherReads = 4000
)

// small is the latencies of one rival's small reads in one round, a sample of reads each.
type small struct{ cold, again, others sample }

// random reads 4 KiB here and there, one after the other: the first time, the same places again,
// and then other places, whose clusters have mostly been decoded for the first.
func (b *bench) random(ctx context.Context) error {
	ours, peer := b.rivals()
	var o, p rounds
	for range b.rounds {
		if err := o.measure(ctx, ours); err != nil {
			return err
		}
		if err := p.measure(ctx, peer); err != nil {
			return err
		}
	}
	b.table.add(
		row{what: "1000 random reads of 4 KiB, cold", ours: o.cold.text(), peer: p.cold.text(), ratio: p.cold.sums.over(o.cold.sums).ratioText()},
		row{what: "the same again", ours: o.again.text(), peer: p.again.text(), ratio: p.again.sums.over(o.again.sums).ratioText()},
		atLeast(10, "the same again: times faster than cold", durationText(o.again.sums.median()),
			p.cold.sums.over(p.again.sums).ratioText(), o.cold.sums.over(o.again.sums)),
		row{what: "4000 other random reads after", ours: o.others.text(), peer: p.others.text(), ratio: p.others.sums.over(o.others.sums).ratioText()},
	)
	return nil
}

// rounds is one rival's small reads in all rounds.
type rounds struct{ cold, again, others latencies }

func (r *rounds) measure(ctx context.Context, who rival) error {
	return who.with(ctx, func(of served) error {
		s, err := smallReads(ctx, of.disk)
		if err != nil {
			return err
		}
		r.cold.add(s.cold)
		r.again.add(s.again)
		r.others.add(s.others)
		return nil
	})
}

// latencies adds a round's reads to the samples that are printed.
type latencies struct{ sums, p50, p99 sample }

func (l *latencies) add(reads sample) {
	l.sums = append(l.sums, reads.sum())
	l.p50 = append(l.p50, reads.quantile(0.5))
	l.p99 = append(l.p99, reads.quantile(0.99))
}

func (l *latencies) text() string {
	return fmt.Sprintf("%s (p50 %s, p99 %s)", durationText(l.sums.median()), durationText(l.p50.median()), durationText(l.p99.median()))
}

func smallReads(ctx context.Context, disk string) (s small, err error) {
	f, err := os.Open(disk)
	if err != nil {
		return small{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The same places for everybody, no place twice.
	places := rand.New(rand.NewPCG(1, 2)).Perm(diskSize / smallRead)
	for _, part := range []struct {
		to     *sample
		places []int
	}{
		{&s.cold, places[:firstReads]},
		{&s.again, places[:firstReads]},
		{&s.others, places[firstReads : firstReads+otherReads]},
	} {
		if *part.to, err = readEach(ctx, f, part.places); err != nil {
			return small{}, err
		}
	}
	return s, nil
}

func readEach(ctx context.Context, f *os.File, places []int) (sample, error) {
	p := make([]byte, smallRead)
	reads := make(sample, 0, len(places))
	for _, place := range places {
		start := time.Now()
		if _, err := f.ReadAt(p, int64(place)*smallRead); err != nil {
			return nil, err
		}
		reads.add(time.Since(start))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return reads, nil
}
