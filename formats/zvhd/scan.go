package zvhd

import (
	"github.com/imsfs/imsfs/formats/codec"
)

// scan decodes a block from a place on and finds the places of the pieces after it.
type scan struct {
	from codec.Place
	q    int // the piece that from is the place of
	to   int // the piece at which to stop; pieces for the whole block

	// places[p] is piece p's, for q <= p < to; places[pieces] is the block's end, if it was
	// reached. A place is the last that is not after the start of its piece, so pieces may share
	// one.
	places [pieces + 1]codec.Place
	// ends[p] is the offset in the payload of the first place at or after the start of piece p.
	ends [pieces + 1]int64
	seen [pieces + 1]bool
}

// decode fills dst with the block's bytes from offset off on, which lie between the two pieces.
// Only a decode up to the end of the block verifies its end.
func (s *scan) decode(dst []byte, off int64, payload []byte) error {
	s.places[s.q] = s.from
	c := codec.Scan{
		Src: payload[min(s.from.Bit/8, int64(len(payload))):], From: s.from,
		End: int64(s.to) * pieceSize, Flushed: s.to == pieces,
		Passed: s.pass,
	}
	if err := c.Decode(dst, off); err != nil {
		return err
	}
	for p := s.q + 1; p <= s.to; p++ {
		if !s.seen[p] {
			s.places[p] = s.places[p-1]
		}
	}
	return nil
}

// pass notes a place for the next piece that starts at it or after it.
func (s *scan) pass(p codec.Place) {
	for e := s.q + 1; e <= s.to && int64(e)*pieceSize <= p.Plain; e++ {
		if s.ends[e] == 0 {
			s.ends[e] = (p.Bit + 7) / 8
		}
	}
	piece := int(ceilDiv(p.Plain, pieceSize))
	if piece <= s.q || piece > s.to {
		return
	}
	window := append(s.places[piece].Window[:0], p.Window...)
	s.places[piece], s.seen[piece] = p, true
	s.places[piece].Window = window
}

// next is the place where the next chunk starts, if the end was reached.
func (s *scan) next() codec.Place { return codec.Place{Window: s.places[pieces].Window} }
