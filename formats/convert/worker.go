package convert

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// worker converts one unit at a time in buffers it keeps.
type worker struct {
	img     formats.Image
	enc     formats.Encoder
	chained formats.Chained // enc, if it is that
	dst     formats.Target
	meter   *meter
	cluster int64 // of the encoder

	plain  []byte // one unit
	stored []int  // the clusters in it that are not all zeros
	spare  []byte // room to encode them, one after the other
	room   int64  // for each at most
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
	w.chained, _ = enc.(formats.Chained)
	// Codecs that find nothing to compress add a little, and formats a header and padding.
	w.room = w.cluster + w.cluster/8 + 4096
	w.spare = make([]byte, unit/w.cluster*w.room)
	return w
}

func (w *worker) do(ctx context.Context, j job) error {
	if err := w.read(ctx, j.span); err != nil {
		return err
	}
	before, err := w.handOn(ctx, j)
	if err != nil {
		return err
	}
	if err := w.encode(ctx, j.span, before); err != nil {
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

// read fills plain with the span, and with zeros to the end of its last cluster, and finds the
// clusters to be stored.
func (w *worker) read(ctx context.Context, s span) error {
	if err := w.img.ReadAt(ctx, w.plain[:s.n], s.off); err != nil {
		return fmt.Errorf("reading the disk at %d: %w", s.off, err)
	}
	clear(w.plain[s.n:])
	w.stored = w.stored[:0]
	for i := range int(int64(len(w.plain)) / w.cluster) {
		if !formats.IsZero(w.at(i)) {
			w.stored = append(w.stored, i)
		}
	}
	return nil
}

// at is the i-th cluster of the unit.
func (w *worker) at(i int) []byte { return w.plain[int64(i)*w.cluster:][:w.cluster] }

// handOn gives the next job its preceding bytes as soon as they are known, and returns those of
// this one.
func (w *worker) handOn(ctx context.Context, j job) (before []byte, err error) {
	if w.chained == nil {
		return nil, nil
	}
	if n := len(w.stored); n > 0 {
		j.next <- bytes.Clone(w.end(w.stored[n-1]))
	}
	select {
	case before = <-j.before:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(w.stored) == 0 {
		j.next <- before
	}
	return before, nil
}

// end is the part of cluster i that the next cluster depends on.
func (w *worker) end(i int) []byte { return w.at(i)[w.cluster-int64(w.chained.Reach()):] }

func (w *worker) encode(ctx context.Context, s span, before []byte) error {
	w.chunks = w.chunks[:0]
	spare := w.spare
	for _, i := range w.stored {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := s.off + int64(i)*w.cluster
		p, err := w.encodeCluster(spare[:0:w.room], i, off/w.cluster, before)
		if err != nil {
			return fmt.Errorf("encoding the disk at %d: %w", off, err)
		}
		if len(p) > 0 && &p[0] == &spare[0] { // and not the plain bytes, or memory of the encoder's own
			p, spare = spare[:len(p)], spare[len(p):]
		}
		w.chunks = append(w.chunks, chunk{ci: off / w.cluster, p: p})
		if w.chained != nil {
			before = w.end(i)
		}
	}
	return nil
}

func (w *worker) encodeCluster(dst []byte, i int, ci int64, before []byte) ([]byte, error) {
	if w.chained != nil {
		return w.chained.EncodeAfter(dst, w.at(i), ci, before)
	}
	return w.enc.Encode(dst, w.at(i), ci)
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

// joined returns the bytes of the first n chunks, as many as are neighbours in memory and in the
// target. Many small writes to one file would make the workers wait for each other in the kernel,
// for longer than the writing takes.
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

// follows reports whether q begins in memory where p ends, as part of one array.
func follows(p, q []byte) bool {
	return len(q) > 0 && cap(p)-len(p) >= len(q) && &p[:len(p)+1][len(p)] == &q[0]
}
