package zvhd2

import (
	"fmt"
	"io"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
)

func BenchmarkRead(b *testing.B) {
	const blocks = 8
	disk := formattest.Disk{Bytes: 1 << 30, Parts: []formattest.Part{{Data: formattest.Prose(blocks * defaultBlockSize)}}}
	image := writeImage(b, disk, formats.CreateOptions{})
	img := openSource(b, formattest.Bytes(image))
	for _, n := range []int{defaultBlockSize, 4096} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				if err := img.ReadAt(b.Context(), p, i%blocks*defaultBlockSize); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCodec decodes what BenchmarkRead/2048KiB does, without a driver around it: their ratio is the driver's price.
func BenchmarkCodec(b *testing.B) {
	plain := formattest.Prose(8 * defaultBlockSize)
	z, err := codec.NewZstdEncoder(0, defaultBlockSize)
	if err != nil {
		b.Fatal(err)
	}
	var frames [][]byte
	for at := 0; at < len(plain); at += defaultBlockSize {
		frames = append(frames, z.Encode(nil, plain[at:at+defaultBlockSize]))
	}
	d, dst := codec.NewZstd(), make([]byte, defaultBlockSize)
	b.SetBytes(defaultBlockSize)
	for i := 0; b.Loop(); i++ {
		if err := d.Decode(dst, frames[i%len(frames)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a disk all of whose blocks are stored, whose chunks are one unit each.
func BenchmarkOpen(b *testing.B) {
	for _, gib := range []int64{1, 1024} {
		e := newEncoder(b, gib<<30, formats.CreateOptions{})
		for block := range gib << 30 / defaultBlockSize {
			if _, err := e.Place(block, unit); err != nil {
				b.Fatal(err)
			}
		}
		var tail tailTarget
		if err := e.Finish(b.Context(), &tail); err != nil {
			b.Fatal(err)
		}
		src := tail.source()
		b.Run(fmt.Sprintf("%dGiB", gib), func(b *testing.B) {
			d := newDriver()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Open(b.Context(), src, formats.OpenOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// tailTarget keeps what Finish writes, without the chunks before it.
type tailTarget struct {
	parts []formattest.Part
	size  int64
}

func (w *tailTarget) WriteAt(p []byte, off int64) (int, error) {
	if n := len(w.parts); n > 0 && w.parts[n-1].End() == off {
		w.parts[n-1].Data = append(w.parts[n-1].Data, p...)
		return len(p), nil
	}
	w.parts = append(w.parts, formattest.Part{Off: off, Data: append([]byte(nil), p...)})
	return len(p), nil
}

func (w *tailTarget) Truncate(size int64) error {
	if w.size = size; size < w.parts[len(w.parts)-1].End() {
		return io.ErrShortWrite
	}
	return nil
}

func (w *tailTarget) source() formats.Source { return formattest.Sparse{Bytes: w.size, Parts: w.parts} }

// BenchmarkEncode runs on as many goroutines as there are processors: compare with -cpu 1,2.
func BenchmarkEncode(b *testing.B) {
	plain := formattest.Prose(defaultBlockSize)
	for _, level := range []int{1, 3, 7} {
		b.Run(fmt.Sprintf("level-%d", level), func(b *testing.B) {
			e := newEncoder(b, 1<<30, formats.CreateOptions{Level: level})
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var dst []byte
				for pb.Next() {
					var err error
					if dst, err = e.Encode(dst, plain, 3); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
