// Package convert makes passes over whole disks: Run writes a disk in another layout, Compare tells whether two
// hold the same. Both follow the extents, so that what is empty costs nothing, and keep all cores busy; their
// memory depends on the number of workers, never on the disk.
//
// Run works on units: a source cluster or a target cluster, whichever is larger, and at least 1 MiB. A worker reads
// its unit, which decodes it, and encodes the target clusters in it that are not all zeros. Then it waits for its
// turn to have them placed, as only the order of placing is fixed, and writes them while the next takes its turn:
//
//	feeder ── spans ──▶ worker: read, encode ─┐            ┌─▶ write
//	                    worker: read, encode ─┼─▶ place ───┼─▶ write
//	                    …                     ┘ (in order) └─▶ write
package convert

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/imsfs/imsfs/formats"
)

// Run writes the disk img through enc to dst. The encoder must have been created for the size of img. On an
// error, which is the first that happened and names the offset, dst holds no usable image.
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

// job is a span and its turn among all: its chunks may be placed once prev is closed, and then it closes placed.
type job struct {
	span
	prev   <-chan struct{}
	placed chan<- struct{}
}

// inTurn chains the spans.
func inTurn(spans iter.Seq2[span, error]) iter.Seq2[job, error] {
	return func(yield func(job, error) bool) {
		prev := make(chan struct{})
		close(prev)
		for s, err := range spans {
			placed := make(chan struct{})
			if !yield(job{s, prev, placed}, err) {
				return
			}
			prev = placed
		}
	}
}

// worker converts one unit at a time in buffers it keeps.
type worker struct {
	img     formats.Image
	enc     formats.Encoder
	dst     formats.Target
	meter   *meter
	cluster int64 // of the encoder

	plain  []byte   // one unit
	spare  [][]byte // for each cluster of a unit, room to encode it; never replaced by what Encode returns, which may alias plain
	chunks []chunk
}

// chunk is an encoded cluster.
type chunk struct {
	ci  int64
	p   []byte
	off int64 // in the target, once placed
}

func newWorker(img formats.Image, enc formats.Encoder, dst formats.Target, unit int64, meter *meter) *worker {
	w := &worker{img: img, enc: enc, dst: dst, meter: meter, cluster: enc.ClusterSize(), plain: make([]byte, unit)}
	// Codecs that find nothing to compress add a little, and formats a header and padding.
	room := w.cluster + w.cluster/8 + 4096
	arena := make([]byte, unit/w.cluster*room)
	for len(arena) > 0 {
		w.spare = append(w.spare, arena[:0:room])
		arena = arena[room:]
	}
	return w
}

func (w *worker) do(ctx context.Context, j job) error {
	if err := w.read(ctx, j.span); err != nil {
		return err
	}
	if err := w.encode(ctx, j.span); err != nil {
		return err
	}
	select {
	case <-j.prev:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.place(); err != nil {
		return err
	}
	close(j.placed)
	if err := w.write(ctx); err != nil {
		return err
	}
	w.meter.add(j.data)
	return nil
}

// read fills plain with the span, and with zeros to the end of its last cluster.
func (w *worker) read(ctx context.Context, s span) error {
	if err := w.img.ReadAt(ctx, w.plain[:s.n], s.off); err != nil {
		return fmt.Errorf("reading the disk at %d: %w", s.off, err)
	}
	clear(w.plain[s.n:])
	return nil
}

func (w *worker) encode(ctx context.Context, s span) error {
	w.chunks = w.chunks[:0]
	for i, spare := range w.spare {
		start := int64(i) * w.cluster
		plain := w.plain[start : start+w.cluster]
		if isZero(plain) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		ci := (s.off + start) / w.cluster
		p, err := w.enc.Encode(spare, plain, ci)
		if err != nil {
			return fmt.Errorf("encoding the disk at %d: %w", s.off+start, err)
		}
		w.chunks = append(w.chunks, chunk{ci: ci, p: p})
	}
	return nil
}

func (w *worker) place() error {
	for i := range w.chunks {
		c := &w.chunks[i]
		off, err := w.enc.Place(c.ci, len(c.p))
		if err != nil {
			return fmt.Errorf("placing the disk's bytes at %d: %w", c.ci*w.cluster, err)
		}
		c.off = off
	}
	return nil
}

func (w *worker) write(ctx context.Context) error {
	for chunks := w.chunks; len(chunks) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, n := joined(chunks)
		if _, err := w.dst.WriteAt(p, chunks[0].off); err != nil {
			return fmt.Errorf("writing the disk's bytes at %d: %w", chunks[0].ci*w.cluster, err)
		}
		chunks = chunks[n:]
	}
	return nil
}

// joined returns the bytes of the first n chunks, as many as lie next to each other in memory and in the target: those
// an encoder leaves as they are. Many small writes to one file make the workers wait for each other in the kernel, for
// longer than the writing takes.
func joined(chunks []chunk) (p []byte, n int) {
	p = chunks[0].p
	for n = 1; n < len(chunks); n++ {
		next := chunks[n]
		if next.off != chunks[0].off+int64(len(p)) || !follows(p, next.p) {
			break
		}
		p = p[:len(p)+len(next.p)]
	}
	return p, n
}

// follows tells whether q begins in memory where p ends, as part of one array.
func follows(p, q []byte) bool {
	return len(q) > 0 && cap(p)-len(p) >= len(q) && &p[:len(p)+1][len(p)] == &q[0]
}

// isZero compares the bytes with themselves, one further on: at the speed of memory, and done at the first
// byte that is not zero.
func isZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
