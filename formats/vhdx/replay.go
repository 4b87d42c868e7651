package vhdx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
)

// replayed is a file as it will be after its log has been written to it. That is not done here: the
// log's writes lie over the file in memory.
type replayed struct {
	src    formats.Source
	size   int64
	writes []write // in the order in which they were meant to happen
}

var _ formats.Source = (*replayed)(nil)

// write is a part of the file that gets other bytes.
type write struct {
	off, end int64
	data     []byte // nil for zeros
}

// Size may be more than the source's, because a log can make the file longer.
func (r *replayed) Size() int64 { return r.size }

func (r *replayed) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > r.size-int64(len(p)) {
		return fmt.Errorf("read of [%d, +%d) in a file of %d bytes: %w", off, len(p), r.size, io.ErrUnexpectedEOF)
	}
	stored := min(max(r.src.Size()-off, 0), int64(len(p)))
	if stored > 0 {
		if err := r.src.ReadAt(ctx, p[:stored], off); err != nil {
			return err
		}
	}
	clear(p[stored:])
	end := off + int64(len(p))
	for _, w := range r.writes {
		from, to := max(off, w.off), min(end, w.end)
		switch {
		case from >= to:
		case w.data == nil:
			clear(p[from-off : to-off])
		default:
			copy(p[from-off:to-off], w.data[from-w.off:])
		}
	}
	return nil
}

// replay reads the log that the header names. It returns the source as it will be and the number of
// entries applied: the source itself and 0 if the log is empty. If it reports something wrong, the
// result is nil.
func replay(ctx context.Context, src formats.Source, h *header, report report) (formats.Source, int, error) {
	log := h.logSpan()
	switch {
	case h.log == guid{} || h.logLength == 0:
		return src, 0, nil
	case log.end > src.Size():
		report(h.at+72, "header: the log at %#x has %d bytes, the file has %d", log.off, h.logLength, src.Size())
		return nil, 0, nil
	case h.logLength > maxLog:
		return nil, 0, fmt.Errorf("vhdx: a log of %d bytes that is not empty: at most %d are replayed: %w", h.logLength, maxLog, errors.ErrUnsupported)
	}
	r := make(ring, h.logLength)
	if err := src.ReadAt(ctx, r, log.off); err != nil {
		return nil, 0, fmt.Errorf("vhdx: log at %#x: %w", log.off, err)
	}
	sequence, at, fault := scan(r, h.log).active()
	if fault != "" {
		report(log.off+int64(at), "log: %s", fault)
		return nil, 0, nil
	}
	if len(sequence) == 0 {
		return src, 0, nil
	}
	over, at, fault := r.apply(sequence, src, log)
	if fault != "" {
		report(log.off+int64(at), "log: entry %s", fault)
		return nil, 0, nil
	}
	return over, len(sequence), nil
}

// apply lays a complete sequence over the file.
func (r ring) apply(sequence []logEntry, src formats.Source, log span) (over *replayed, at int, fault string) {
	head := sequence[len(sequence)-1]
	switch {
	case head.flushed > uint64(src.Size()):
		return nil, head.pos, fmt.Sprintf("%d: the file had %d bytes when it was written and has %d now: it is truncated", head.sequence, head.flushed, src.Size())
	case head.last > maxFileSize:
		return nil, head.pos, fmt.Sprintf("%d: last_file_offset is %d, a file has at most %d bytes", head.sequence, head.last, int64(maxFileSize))
	}
	over = &replayed{src: src, size: max(src.Size(), int64(roundUp(head.last, mib)))}
	for _, e := range sequence {
		if len(over.writes)+e.descriptors > maxDescriptors {
			return nil, e.pos, fmt.Sprintf("%d: with it the log has more than %d descriptors, which are all that are replayed", e.sequence, maxDescriptors)
		}
		if i, fault := over.add(r, e, log); fault != "" {
			return nil, e.pos, fmt.Sprintf("%d: descriptor %d: %s", e.sequence, i, fault)
		}
	}
	return over, 0, ""
}

// add appends what one entry does. Headers and log are not for the log to change.
func (o *replayed) add(r ring, e logEntry, log span) (i int, fault string) {
	sector := dataSectors(e.descriptors)
	for i := range e.descriptors {
		d, _, _ := r.descriptor(e, i) // decode has seen to it
		if d.off > uint64(o.size) || d.n > uint64(o.size)-d.off {
			return i, fmt.Sprintf("[%#x, +%d) lies outside of the file, which gets %d bytes", d.off, d.n, o.size)
		}
		w := write{off: int64(d.off), end: int64(d.off + d.n)}
		for _, s := range []span{{"headers", 0, headersEnd}, log} {
			if s.overlaps(span{off: w.off, end: w.end}) {
				return i, fmt.Sprintf("[%#x, +%d) overlaps the %s", d.off, d.n, s.what)
			}
		}
		if d.lead != nil {
			w.data = bytes.Clone(r.sector(e.pos + sector*logSector))
			copy(w.data, d.lead)
			copy(w.data[logSector-4:], d.trail)
			sector++
		}
		if w.off < w.end {
			o.writes = append(o.writes, w)
		}
	}
	return 0, ""
}
