// Package convert makes passes over whole disks: Run writes a disk in another layout, Compare
// reports whether two hold the same. Both follow the extents, so that empty parts cost nothing, and
// keep all cores busy; their memory depends on the number of workers, never on the disk.
//
// Run works on units: a source cluster or a target cluster, whichever is larger, and at least 1
// MiB. A worker reads its unit, which decodes it, and encodes the target clusters in it that are
// not all zeros. Then it waits for its turn to have them placed, as only the order of placing is
// fixed, and writes them while the next takes its turn:
//
//	feeder ── spans ──▶ worker: read, encode ─┐            ┌─▶ write
//	                    worker: read, encode ─┼─▶ place ───┼─▶ write
//	                    …                     ┘ (in order) └─▶ write
//
// Of a formats.Chained encoder a worker also needs the plain bytes before its unit. The worker
// before it hands them on between reading and encoding, so that no worker waits for another's
// encoding.
package convert

import (
	"context"
	"iter"

	"github.com/imsfs/imsfs/formats"
)

// Run writes the disk img through enc to dst. The encoder must have been created for the size of
// img. On an error, which is the first that happened and names the offset, dst holds no usable
// image.
func Run(ctx context.Context, img formats.Image, enc formats.Encoder, dst formats.Target, cfg Config) error {
	unit := unitSize(enc.ClusterSize(), img)
	data := spans(ctx, img.Extent, img.Info().Size, unit)
	meter, err := newMeter(cfg.Progress, data)
	if err != nil {
		return err
	}
	err = parallel(ctx, cfg.workers(), inTurn(data), func() func(context.Context, job) error {
		return newWorker(img, enc, dst, unit, meter).do
	})
	if err != nil {
		return err
	}
	return enc.Finish(ctx, dst)
}

// job is a span and its turn: its chunks may be placed once prev is closed, and then it closes
// placed. For a Chained encoder it receives the plain bytes before it, and sends those before the
// next job.
type job struct {
	span
	prev   <-chan struct{}
	placed chan<- struct{}
	before <-chan []byte
	next   chan<- []byte
}

// inTurn chains the spans. The first has no predecessor.
func inTurn(spans iter.Seq2[span, error]) iter.Seq2[job, error] {
	return func(yield func(job, error) bool) {
		prev, before := make(chan struct{}), make(chan []byte, 1)
		close(prev)
		before <- nil
		for s, err := range spans {
			placed, next := make(chan struct{}), make(chan []byte, 1)
			if !yield(job{s, prev, placed, before, next}, err) {
				return
			}
			prev, before = placed, next
		}
	}
}
