package zvhd2

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// checker is one Check under way.
type checker struct {
	src    formats.Source
	out    func(formats.Problem)
	chunks chunkReader
	block  []byte           // scratch for decoding
	tables formats.Findings // held back until the chunks before the tables are checked
}

func (c *checker) damage(off int64, format string, args ...any) {
	c.out(formats.Problem{Off: off, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) leak(from, to int64) {
	if from < to {
		c.out(formats.Problem{Off: from, Text: fmt.Sprintf("%d bytes belong to nothing", to-from), Leak: true})
	}
}

// Check walks the chunks from the header on and lists the good ones, if footer or tables are too
// damaged to follow.
func (d *Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	s, err := readSeals(ctx, src)
	if err != nil {
		return err
	}
	believed := &s.final
	if s.finalFault != "" {
		believed = &s.header
	}
	c := &checker{src: src, out: report, chunks: d.chunks(src, believed.compressMethod)}
	if s.headerFault != "" {
		c.damage(0, "header: %s", s.headerFault)
	}
	switch {
	case s.finalFault != "" && s.headerFault != "":
		c.damage(s.finalAt, "final footer: %s", s.finalFault)
		return nil
	case believed.supported() != nil:
		return believed.supported()
	case s.finalFault != "":
		whole, err := c.stand(ctx, &s.header)
		if err != nil {
			return err
		}
		c.damage(s.finalAt, "final footer: %s: %s", s.finalFault, truncated(whole))
		return nil
	}
	return c.whole(ctx, &s)
}

// whole checks a file whose final footer is good.
func (c *checker) whole(ctx context.Context, s *seals) error {
	f := &s.final
	if f.verify(s.finalAt, c.tables.Damage); !c.tables.Empty() {
		return c.standAndRelease(ctx, s)
	}
	t, err := loadBitmap(ctx, c.src, f, c.tables.Damage)
	if err != nil {
		return err
	}
	if !c.tables.Empty() { // the bitmap says which block an index entry is of
		return c.standAndRelease(ctx, s)
	}
	if err := t.loadIndex(ctx, c.src, f, c.tables.Damage); err != nil {
		return err
	}
	want := f.asHeader()
	if s.headerFault == "" {
		c.compare(s.header, want, 0, "header")
	}
	c.block = make([]byte, f.blockSize)
	end, err := c.data(ctx, byOffset(t.refs))
	if err != nil {
		return err
	}
	want.nonZeroBlkNum = f.nonZeroBlkNum
	if err := c.copyOfHeader(ctx, end, int64(f.indexLBA)-unit, &want); err != nil {
		return err
	}
	c.tables.Report(c.out)
	c.leak(int64(f.indexLBA)+int64(f.indexSize), int64(f.bitmapLBA))
	c.leak(int64(f.bitmapLBA)+int64(f.bitmapSize), s.finalAt)
	return nil
}

// asHeader is the header that belongs to a final footer: as it was at creation.
func (f *footer) asHeader() footer {
	h := *f
	h.indexLBA, h.bitmapLBA, h.indexSize, h.bitmapSize = 0, 0, 0, 0
	h.indexSegSize, h.bitmapSegSize, h.indexSegNum, h.bitmapSegNum, h.nonZeroBlkNum = 0, 0, 0, 0, 0
	return h
}

// compare reports the fields of the structure at an offset that do not agree with the final footer.
// The checksum is left out: the header's has been checked, and its copy's is stale.
func (c *checker) compare(have, implied footer, at int64, what string) {
	have.Checksum = implied.Checksum
	got, want := have.encode(), implied.encode()
	for _, f := range fields {
		g, w := got[f.Off:f.Off+f.Size], want[f.Off:f.Off+f.Size]
		if !bytes.Equal(g, w) {
			c.damage(at+int64(f.Off), "%s: %s is %x, must be %x to agree with the final footer", what, f.Name, g, w)
		}
	}
}

// data checks the chunks, in file order, and the space between them. It returns where the last one
// ends.
func (c *checker) data(ctx context.Context, refs []ref) (end int64, err error) {
	end = unit
	for _, r := range refs {
		if r.off < end {
			// Not decoded: a small file with a hundred thousand entries for one chunk would take a
			// day.
			c.damage(r.off, "the chunk of block %d overlaps another, which ends at %#x", r.block, end)
			end = max(end, r.end())
			continue
		}
		c.leak(end, r.off)
		if err := c.chunk(ctx, r); err != nil {
			return end, err
		}
		end = max(end, r.end())
	}
	return end, nil
}

// chunk reads and decodes one chunk and reports damage in it.
func (c *checker) chunk(ctx context.Context, r ref) error {
	problem, err := c.chunks.decode(ctx, c.block, r)
	c.chunkDamage(r, problem)
	return err
}

func (c *checker) chunkDamage(r ref, problem string) {
	if problem != "" {
		c.damage(r.off, "chunk of block %d: %s", r.block, problem)
	}
}

// copyOfHeader checks the copy that lies between the data, which end at end, and the index.
func (c *checker) copyOfHeader(ctx context.Context, end, at int64, want *footer) error {
	if at < end {
		c.damage(at, "copy of the header: the chunk that ends at %#x lies over it", end)
		return nil
	}
	c.leak(end, at)
	b := make([]byte, footerSize)
	if err := c.src.ReadAt(ctx, b, at); err != nil {
		return fmt.Errorf("zvhd2: copy of the header at %#x: %w", at, err)
	}
	c.compare(decodeFooter(b), *want, at, "copy of the header")
	return nil
}

// standAndRelease lists the good chunks and then the problems of the tables, which cannot be
// followed.
func (c *checker) standAndRelease(ctx context.Context, s *seals) error {
	if _, err := c.stand(ctx, &s.final); err != nil {
		return err
	}
	c.tables.Report(c.out)
	return nil
}

// stand lists the good chunks that follow the header, without the index, in runs of blocks, and
// reports the damaged ones among them. It returns the number of both.
func (c *checker) stand(ctx context.Context, f *footer) (whole int64, err error) {
	var first, last ref // the run so far, if last is not empty
	for r, err := range walk(ctx, c.src, f) {
		if err != nil {
			return whole, err
		}
		whole++
		problem, err := c.tryDecode(ctx, f, r)
		if err != nil {
			return whole, err
		}
		if last.size > 0 && problem == "" && r.block == last.block+1 {
			last = r
			continue
		}
		c.stands(first, last)
		first, last = r, r
		if problem != "" {
			c.chunkDamage(r, problem)
			last = ref{}
		}
	}
	c.stands(first, last)
	return whole, nil
}

// tryDecode decodes a chunk found without the index, if it is known how long its block is.
func (c *checker) tryDecode(ctx context.Context, f *footer, r ref) (problem string, err error) {
	if !validBlockSize(f.blockSize) {
		return "", nil
	}
	if c.block == nil {
		c.block = make([]byte, f.blockSize)
	}
	return c.chunks.decode(ctx, c.block, r)
}

func (c *checker) stands(first, last ref) {
	if last.size > 0 {
		c.damage(first.off, "blocks %d to %d stand here in whole chunks up to %#x, without an index", first.block, last.block, last.end())
	}
}
