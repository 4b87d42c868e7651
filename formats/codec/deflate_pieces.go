package codec

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/flate"
)

// MaxDeflateLevel is the highest level NewDeflatePieces takes.
const MaxDeflateLevel = 9

// DeflatePieces makes pieces of deflate streams. It is safe for concurrent use.
type DeflatePieces struct {
	level   int
	writers sync.Pool
}

// deflater is one pooled encoder with the buffer it writes to.
type deflater struct {
	out  bytes.Buffer
	back *flate.Writer
}

// NewDeflatePieces makes an encoder. The level is in zlib's own numbers, 1 to MaxDeflateLevel; 0 is zlib's default, 6.
func NewDeflatePieces(level int) (*DeflatePieces, error) {
	if level < 0 || level > MaxDeflateLevel {
		return nil, fmt.Errorf("deflate: level %d: it must be 1 to %d, or 0 for the default", level, MaxDeflateLevel)
	}
	if level == 0 {
		level = 6
	}
	return &DeflatePieces{level: level}, nil
}

// Level is the level in zlib's numbers, never 0.
func (e *DeflatePieces) Level() int { return e.level }

// Encode appends the deflated src to dst, up to a sync flush. It may refer to the end of before: pieces that are each
// encoded with the plain bytes in front of them are one stream.
func (e *DeflatePieces) Encode(dst, src, before []byte) []byte {
	before = before[max(0, len(before)-DeflateWindow):]
	w, _ := e.writers.Get().(*deflater)
	if w == nil {
		w = new(deflater)
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
