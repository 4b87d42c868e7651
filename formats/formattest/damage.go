package formattest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// use opens a source and reads here and there: the first extents, the bytes around the model's
// edges, and much at once, which drivers have ways of their own for. It returns the first error,
// and says whether all bytes that were read are the model's.
func (r *runner) use(ctx context.Context, src formats.Source) (right bool, err error) {
	img, err := r.set.Open(ctx, src, r.name, r.c.Open)
	if err != nil {
		return true, err
	}
	info := img.Info()
	seen := 0
	for e, err := range formats.Extents(ctx, img, 0, info.Size) {
		if err != nil {
			return true, err
		}
		if e.State != formats.Data && e.End() <= r.c.Disk.Bytes && !r.c.Disk.zero(e.Off, e.Len) {
			return false, nil
		}
		if seen++; seen > 100 {
			break
		}
	}
	right = info.Size == r.c.Disk.Bytes
	for _, part := range r.c.Disk.Parts {
		for _, in := range []Range{{part.Off, part.Off + 700}, {part.End() - 1, part.End() + 699}, {part.Off, part.Off + min(1<<20, int64(len(part.Data)))}} {
			n := min(in.End, info.Size) - in.Off
			if n <= 0 {
				right = false
				continue
			}
			p := make([]byte, n)
			if err := img.ReadAt(ctx, p, in.Off); err != nil {
				return right, err
			}
			if r.c.Disk.diff(p[:min(n, r.c.Disk.Bytes-in.Off)], in.Off) != "" {
				right = false
			}
		}
	}
	return right, nil
}

// testPrefixes opens the image cut short at every length near its start and its end and at many
// between. A driver refuses it, or it still reads right because nothing of use was lost.
func (r *runner) testPrefixes(t *testing.T) {
	image := r.c.Image
	lengths := []int{0, 1, 7, 8, 511, 512, 513, 1023, 1024, 4095, 4096, 4097}
	for i := range 40 {
		lengths = append(lengths, len(image)*i/40)
	}
	for i := range 12 {
		lengths = append(lengths, len(image)-1<<i)
	}
	for _, n := range lengths {
		if n < 0 || n >= len(image) {
			continue
		}
		right, err := r.use(t.Context(), Bytes(image[:n]))
		if err == nil && !right && !r.c.PrefixValid {
			t.Errorf("the first %d of %d bytes open and read as something else", n, len(image))
		}
	}
}

// testFlips flips single bits all over the image, in place. Nothing may panic or hang; and where a
// checksum covers the bit, reading must fail or give the right bytes.
func (r *runner) testFlips(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 19))
	size := int64(len(r.c.Image))
	for range 20 {
		r.flip(t, Range{0, size}, rnd.Int64N(size*8), false)
	}
	for _, c := range r.c.Checked {
		for range min(50, (c.End-c.Off)*8) {
			r.flip(t, c, c.Off*8+rnd.Int64N((c.End-c.Off)*8), true)
		}
	}
}

func (r *runner) flip(t *testing.T, in Range, bit int64, checked bool) {
	t.Helper()
	image := r.c.Image
	image[bit/8] ^= 1 << (bit % 8)
	defer func() { image[bit/8] ^= 1 << (bit % 8) }()
	right, err := r.use(t.Context(), Bytes(image))
	if checked && err == nil && !right {
		t.Errorf("bit %d of byte %d in the checked range [%d, %d) was flipped and wrong bytes were read", bit%8, bit/8, in.Off, in.End)
	}
}

var errInjected = errors.New("injected fault")

// testFaults lets each read of the source fail in turn. The caller must get the error, and never
// wrong bytes.
func (r *runner) testFaults(t *testing.T) {
	count := &Counting{Source: Bytes(r.c.Image)}
	if right, err := r.use(t.Context(), count); err != nil || !right {
		t.Fatalf("without a fault: right=%v, %v", right, err)
	}
	if count.Calls() == 0 {
		t.Fatal("the driver never read the source")
	}
	for at := int64(1); at <= count.Calls(); at++ {
		src := &Faulty{Source: Bytes(r.c.Image), At: at, Err: errInjected}
		_, err := r.use(t.Context(), src)
		if !src.Hit() {
			t.Errorf("read %d of %d never came", at, count.Calls())
		}
		if !errors.Is(err, errInjected) {
			t.Errorf("read %d of %d failed and the driver's answer was %v", at, count.Calls(), err)
		}
	}
	r.testRecovery(t)
}

// testRecovery wants an image to serve right bytes again once its source does. Of an image of
// several files the source may have no bytes of the disk.
func (r *runner) testRecovery(t *testing.T) {
	t.Helper()
	if len(r.c.Disk.Parts) == 0 || r.c.Open.Files != nil {
		return
	}
	open := &Counting{Source: Bytes(r.c.Image)}
	if _, err := r.set.Open(t.Context(), open, r.name, r.c.Open); err != nil {
		t.Fatal(err)
	}
	src := &Faulty{Source: Bytes(r.c.Image), At: open.Calls() + 1, Err: errInjected}
	img, err := r.set.Open(t.Context(), src, r.name, r.c.Open)
	if err != nil {
		t.Fatal(err)
	}
	off := r.c.Disk.Parts[0].Off
	if err := img.ReadAt(t.Context(), make([]byte, 1), off); !errors.Is(err, errInjected) {
		t.Errorf("ReadAt(off=%d) with a failing source = %v", off, err)
	}
	r.checkRead(t, img, off, min(700, r.c.Disk.Bytes-off))
}

// testShrinking opens the image whole and then takes its tail away.
func (r *runner) testShrinking(t *testing.T) {
	for i := range 8 {
		src := &Shrinking{Source: Bytes(r.c.Image), End: int64(len(r.c.Image))}
		img, err := r.set.Open(t.Context(), src, r.name, r.c.Open)
		if err != nil {
			t.Fatal(err)
		}
		src.End = src.End * int64(i) / 8
		for _, part := range r.c.Disk.Parts {
			p := make([]byte, min(700, len(part.Data)))
			if err := img.ReadAt(t.Context(), p, part.Off); err == nil {
				if diff := r.c.Disk.diff(p, part.Off); diff != "" {
					t.Errorf("cut to %d bytes after Open: %s", src.End, diff)
				}
			}
		}
	}
}
