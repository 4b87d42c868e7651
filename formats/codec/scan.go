package codec

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/flate"
)

// Scan decodes deflate data and reports the places it passes. It allocates memory for each, so it
// is for callers that keep them.
type Scan struct {
	Src  []byte // begins with the byte that From lies in
	From Place
	// End is the plain offset at which decoding ends. Flushed says that Src ends there too, as
	// after a sync flush: on a whole byte, after a block that was not the final one.
	End     int64
	Flushed bool
	// Passed is called for every place between From and End, in order, and perhaps for some after
	// End. The window is only valid during the call.
	Passed func(Place)
}

var errFinal = errors.New("deflate: the stream ends and must go on")

// Decode fills dst with the plain bytes from offset off on; off+len(dst) is at most s.End.
func (s *Scan) Decode(dst []byte, off int64) error {
	r := &placeReader{at: s.From.Plain}
	r.in.Reset(s.Src)
	t := tracker{in: &r.in, start: s.From.Bit / 8, last: s.From.Bit, passed: s.Passed}
	r.out = flate.NewReaderOpts(&r.in, flate.WithResumeFrom(checkpoint(s.From)), flate.WithEobCallback(t.pass))
	if err := r.fill(dst, off); err != nil {
		return err
	}
	if err := r.fill(nil, s.End); err != nil {
		return err
	}
	if !s.Flushed {
		return nil
	}
	if err := r.atEnd(); err != nil {
		return err
	}
	size := (s.From.Bit/8 + int64(len(s.Src))) * 8
	switch {
	case t.final:
		return errFinal
	case t.last != size:
		return fmt.Errorf("deflate: the data do not end between two blocks: the last place is at bit %d of %d", t.last, size)
	}
	return nil
}

// tracker turns the library's checkpoints into places.
type tracker struct {
	in     *bytes.Reader
	start  int64 // offset of in's first byte in the data
	passed func(Place)

	drift int64 // bits by which the library counts too many
	last  int64 // the last place's Bit
	final bool
}

// pass corrects a count of the library (klauspost/compress 1.20.3), which counts the bytes that it
// had read ahead of a stored block twice. The count is beyond the input read so far in that case,
// and never otherwise.
func (t *tracker) pass(cp flate.InflateCheckpoint) {
	count := cp.CompressedOffset*8 + int64(cp.BitOffset)
	read := (t.start + t.in.Size() - int64(t.in.Len())) * 8
	t.drift = max(t.drift, count-read)
	t.last = count - t.drift
	t.final = t.final || cp.Final
	t.passed(Place{Bit: t.last, Plain: cp.UncompressedOffset, Window: cp.Window})
}
