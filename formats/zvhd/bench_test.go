package zvhd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

const benchBlocks = 16

func benchImage(b *testing.B) []byte {
	b.Helper()
	return writeImage(b, formattest.Disk{Bytes: 1 << 30, Parts: []formattest.Part{{Data: formattest.Prose(benchBlocks * blockSize)}}}, formats.CreateOptions{})
}

// BenchmarkRead reads forward as often as it takes, each time in a file just opened unless there is an index.
func BenchmarkRead(b *testing.B) {
	image := formattest.Bytes(benchImage(b))
	index := buildIndex(b, openIndexed(b, image))
	for _, n := range []int64{pieceSize, blockSize} {
		for _, indexed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dKiB/index=%v", n>>10, indexed), func(b *testing.B) {
				p := make([]byte, n)
				b.SetBytes(n)
				b.ReportAllocs()
				img := openIndexed(b, image)
				for i := int64(0); b.Loop(); i++ {
					off := i * n % (benchBlocks * blockSize)
					if off == 0 {
						img = openIndexed(b, image)
						if indexed {
							if err := img.UseIndex(b.Context(), index); err != nil {
								b.Fatal(err)
							}
						}
					}
					if err := img.ReadAt(b.Context(), p, off); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRandom reads clusters at random places, as a reader of 4 KiB makes lazyload do, by an index.
func BenchmarkRandom(b *testing.B) {
	image := formattest.Bytes(benchImage(b))
	img := openIndexed(b, image)
	if err := img.UseIndex(b.Context(), buildIndex(b, img)); err != nil {
		b.Fatal(err)
	}
	p, rnd := make([]byte, img.Info().ClusterSize), rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if err := img.ReadAt(b.Context(), p, rnd.Int64N(benchBlocks*pieces)*pieceSize); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuildIndex is the pass over the file.
func BenchmarkBuildIndex(b *testing.B) {
	img := openIndexed(b, formattest.Bytes(benchImage(b)))
	b.SetBytes(benchBlocks * blockSize)
	for b.Loop() {
		if err := img.BuildIndex(b.Context(), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// fullFile makes a file of a disk of so many TiB, sparse, all of whose blocks are stored in chunks of one unit.
func fullFile(b *testing.B, chunks int64) *os.File {
	b.Helper()
	e := newEncoder(b, 1<<40, formats.CreateOptions{})
	f, err := os.Create(filepath.Join(b.TempDir(), "full.zvhd"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	for i := range chunks {
		chunk := zstream.EncodeChunk(make([]byte, zstream.ChunkHeaderSize), uint32(i))
		off, err := e.Place(i, len(chunk))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(chunk, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Finish(b.Context(), f); err != nil {
		b.Fatal(err)
	}
	return f
}

// file is a source on disk.
type file struct {
	f    *os.File
	size int64
}

func (f file) ReadAt(_ context.Context, p []byte, off int64) error {
	_, err := f.f.ReadAt(p, off)
	return err
}

func (f file) Size() int64 { return f.size }

// BenchmarkOpen opens a disk of 1 TiB, and then has its last block looked for, which walks from chunk to chunk.
func BenchmarkOpen(b *testing.B) {
	const chunks = 32768 // a sixteenth of the blocks
	f := fullFile(b, chunks)
	src := file{f, (chunks + 2) * unit}
	b.Run("open", func(b *testing.B) {
		d := New()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Open(b.Context(), src, formats.OpenOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprintf("walk-%d", chunks), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			img := openSource(b, src)
			if _, err := img.Extent(b.Context(), 1<<40-512, 512); err != nil {
				b.Fatal(err)
			}
		}
	})
}
