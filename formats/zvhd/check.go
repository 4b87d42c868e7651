package zvhd

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// checker is one Check under way.
type checker struct {
	src    formats.Source
	out    func(formats.Problem)
	chunks chunkReader
	blocks int64 // the disk's

	from   codec.Place // where the next chunk is decoded from
	broken bool        // from is not known: an earlier chunk cannot be decoded
}

func (c *checker) damage(off int64, format string, args ...any) {
	c.out(formats.Problem{Off: off, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) leak(from, to int64) {
	if from < to {
		c.out(formats.Problem{Off: from, Text: fmt.Sprintf("%d bytes belong to nothing", to-from), Leak: true})
	}
}

// Check continues after bytes that are not a chunk, at the next unit that begins like one. After a
// chunk that cannot be decoded it can still tell which of the next ones are whole.
func (d *Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	s, err := readSeals(ctx, src)
	if err != nil {
		return err
	}
	c := &checker{src: src, out: report, chunks: d.chunks(src), from: streamStart}
	if s.headerFault != "" {
		c.damage(0, "header: %s", s.headerFault)
	}
	h, at, err := s.believed()
	if err != nil {
		c.damage(s.tailAt, "copy of the header: %s", s.tailFault)
		return nil
	}
	if err := h.supported(); err != nil {
		return err
	}
	if at == 0 {
		h.verify(0, c.damage)
	}
	c.blocks = min(h.blocks(), 1<<32)
	if h.OriginalSize > formats.MaxDiskSize {
		c.blocks = 1 << 32
	}
	if err := c.data(ctx, &s); err != nil {
		return err
	}
	if at != 0 {
		h.verify(at, c.damage)
	}
	return nil
}

// data checks the chunks, up to the copy of the header after them.
func (c *checker) data(ctx context.Context, s *seals) error {
	last, at := beforeFirst, int64(unit)
	for i := int64(0); ; i++ {
		h, end, problem, err := readHead(ctx, c.src, at)
		switch {
		case err != nil:
			return err
		case end:
			return c.copyOfHeader(ctx, s, at)
		case problem != "":
			c.damage(at, "%s", problem)
			c.lose()
			if at, err = c.skip(ctx, at+unit); err != nil || at < 0 {
				return err
			}
			continue
		}
		r := ref{off: at, block: h.Block, size: uint32(h.Size())}
		if problem := order(last, r, c.blocks); problem != "" {
			c.damage(r.off, "%s", problem)
		}
		if err := c.chunk(ctx, i, r); err != nil {
			return err
		}
		last, at = r, r.end()
	}
}

// chunk reads and decodes one chunk and reports damage in it.
func (c *checker) chunk(ctx context.Context, i int64, r ref) error {
	buf, compressed, problem, err := c.chunks.read(ctx, i, r)
	defer c.chunks.buffers.Put(buf)
	if err != nil {
		return err
	}
	s := &scan{from: c.from, to: pieces}
	if problem == "" {
		if err := s.decode(nil, 0, compressed); err != nil {
			problem = err.Error()
		}
	}
	if problem == "" {
		c.from = s.next()
		return nil
	}
	if !c.broken {
		problem += "; no later block can be read"
	}
	c.damage(r.off, "chunk of block %d: %s", r.block, problem)
	c.lose()
	return nil
}

// lose goes on without the window for the next chunk: with zeros it decodes to other bytes, but as
// many.
func (c *checker) lose() {
	c.broken = true
	c.from = codec.Place{Window: make([]byte, codec.DeflateWindow)}
}

// skip finds the next unit that begins like a chunk or like the copy of the header; -1 if there is
// none.
func (c *checker) skip(ctx context.Context, at int64) (int64, error) {
	buf := c.chunks.buffers.Get(256 * unit)
	defer c.chunks.buffers.Put(buf)
	for at <= c.src.Size()-unit {
		b := (*buf)[:min(int64(len(*buf)), (c.src.Size()-at)/unit*unit)]
		if err := c.src.ReadAt(ctx, b, at); err != nil {
			return 0, fmt.Errorf("zvhd: chunks at %#x: %w", at, err)
		}
		for ; len(b) > 0; b = b[unit:] {
			if bytes.HasPrefix(b, []byte(zstream.ChunkCookie)) || bytes.HasPrefix(b, []byte(cookie)) {
				return at, nil
			}
			at += unit
		}
	}
	return -1, nil
}

// copyOfHeader checks the copy after the chunks and that it ends the file.
func (c *checker) copyOfHeader(ctx context.Context, s *seals, at int64) error {
	b := make([]byte, headerSize)
	if err := c.src.ReadAt(ctx, b, at); err != nil {
		return fmt.Errorf("zvhd: copy of the header at %#x: %w", at, err)
	}
	if fault := zstream.Fault(b, cookie); fault != "" {
		c.damage(at, "copy of the header: %s", fault)
	} else if s.headerFault == "" {
		c.compare(b, s.header.encode(), at)
	}
	c.leak(at+unit, c.src.Size())
	return nil
}

// compare reports the fields in which the copy at an offset differs from the header.
func (c *checker) compare(have, want []byte, at int64) {
	for _, f := range fields {
		g, w := have[f.Off:f.Off+f.Size], want[f.Off:f.Off+f.Size]
		if f.Name != "checksum" && !bytes.Equal(g, w) {
			c.damage(at+int64(f.Off), "copy of the header: %s is %x, must be %x as in the header", f.Name, g, w)
		}
	}
}
