package codec

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/flate"
)

// MaxChainLevel is the highest level NewChainEncoder takes.
const MaxChainLevel = 9

// ChainEncoder makes the pieces of one deflate stream. It is safe for concurrent use.
type ChainEncoder struct {
	level   int
	writers sync.Pool
}

// chainWriter is one pooled encoder with the buffer it writes to.
type chainWriter struct {
	out  bytes.Buffer
	back *flate.Writer
}

// NewChainEncoder makes an encoder. The level is in zlib's own numbers, 1 to MaxChainLevel; 0 is
// zlib's default, 6.
func NewChainEncoder(level int) (*ChainEncoder, error) {
	if level < 0 || level > MaxChainLevel {
		return nil, fmt.Errorf("deflate: level %d: it must be 1 to %d, or 0 for the default", level, MaxChainLevel)
	}
	if level == 0 {
		level = 6
	}
	return &ChainEncoder{level: level}, nil
}

// Level is the level in zlib's numbers, never 0.
func (e *ChainEncoder) Level() int { return e.level }

// Encode appends the deflated src to dst, up to a sync flush. It may refer to the end of before.
// Pieces that are each encoded with the plain bytes before them are one stream.
func (e *ChainEncoder) Encode(dst, src, before []byte) []byte {
	before = before[max(0, len(before)-DeflateWindow):]
	w, _ := e.writers.Get().(*chainWriter)
	if w == nil {
		w = new(chainWriter)
		var err error
		if w.back, err = flate.NewWriter(&w.out, e.level); err != nil {
			panic(err) // bug: only an impossible level is refused
		}
	}
	defer e.writers.Put(w)
	w.out = *bytes.NewBuffer(dst)
	w.back.ResetDict(&w.out, before)
	_, err := w.back.Write(src)
	if err == nil {
		err = w.back.Flush()
	}
	if err != nil {
		panic(err) // bug: a buffer takes all
	}
	dst = w.out.Bytes()
	w.out = bytes.Buffer{} // a pooled encoder must not keep the caller's bytes alive
	w.back.ResetDict(nil, nil)
	return dst
}
