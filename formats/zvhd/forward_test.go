package zvhd

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
)

// opened is an image by its own type.
func opened(t testing.TB, src formats.Source) *image {
	t.Helper()
	img, err := New().Open(t.Context(), src, formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img.(*image)
}

// TestReadersInOrderDecodeNothingTwice: each read takes one read of each chunk that it touches.
func TestReadersInOrderDecodeNothingTwice(t *testing.T) {
	disk := formattest.Disk{Bytes: 1 << 30}
	for off := int64(0); off < 20<<20; off += pieceSize {
		disk.Parts = append(disk.Parts, formattest.Part{Off: off + 5000, Data: formattest.Pattern(off+5000, 2000)})
	}
	image := writeImage(t, disk, formats.CreateOptions{})
	for _, n := range []int64{pieceSize, 1 << 20, blockSize, 5 << 20} {
		src := &formattest.Counting{Source: formattest.Bytes(image)}
		img := opened(t, src)
		p, want := make([]byte, n), make([]byte, n)
		for off := int64(0); off < 20<<20; off += n {
			if err := img.ReadAt(t.Context(), p, off); err != nil {
				t.Fatal(err)
			}
			if disk.Fill(want, off); !bytes.Equal(p, want) {
				t.Fatalf("reads of %d: wrong bytes at %d", n, off)
			}
		}
		chunks, parts := src.Calls()-2-10, int64(0) // without headers and heads of chunks
		for off := int64(0); off < 20<<20; off += n {
			parts += (off+n-1)/blockSize - off/blockSize + 1
		}
		if chunks != parts {
			t.Errorf("reads of %d: %d reads of chunks, want %d", n, chunks, parts)
		}
	}
}

// TestManyReadersMakeOnePass reads at random places from many goroutines without an index.
func TestManyReadersMakeOnePass(t *testing.T) {
	disk := manyBlocks()
	src := &formattest.Counting{Source: formattest.Bytes(writeImage(t, disk, formats.CreateOptions{}))}
	img := opened(t, src)
	stored := int64(len(blocksOf(disk)))
	const readers = 8
	start := make(chan struct{})
	var wg sync.WaitGroup
	for g := range readers {
		wg.Go(func() {
			<-start
			part := disk.Parts[len(disk.Parts)-1-2*g] // near the end
			got := make([]byte, len(part.Data))
			if err := img.ReadAt(t.Context(), got, part.Off); err != nil || !bytes.Equal(got, part.Data) {
				t.Errorf("reader %d: wrong bytes or %v", g, err)
			}
		})
	}
	close(start)
	wg.Wait()
	if n, most := src.Calls()-2-stored-1, stored+2*readers; n > most {
		t.Errorf("%d reads of chunks for %d readers of %d blocks, want at most %d", n, readers, stored, most)
	}
}

// TestManyReadersEachComeOn has more readers, each in a part of the file that no other comes through, than places are
// remembered: nobody must wait for ever.
func TestManyReadersEachComeOn(t *testing.T) {
	disk := manyBlocks()
	img := opened(t, formattest.Bytes(writeImage(t, disk, formats.CreateOptions{})))
	img.places.every = 1 << 40 // no milestones
	img.places.recent = 2
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			part := disk.Parts[g*len(disk.Parts)/20]
			got := make([]byte, len(part.Data))
			if err := img.ReadAt(t.Context(), got, part.Off); err != nil || !bytes.Equal(got, part.Data) {
				t.Errorf("reader %d: wrong bytes or %v", g, err)
			}
		})
	}
	wg.Wait()
}

// TestBackwardsIsRight is the worst way through the file.
func TestBackwardsIsRight(t *testing.T) {
	disk := manyBlocks()
	img := opened(t, formattest.Bytes(writeImage(t, disk, formats.CreateOptions{})))
	for i := len(disk.Parts) - 1; i >= 0; i -= 3 {
		part := disk.Parts[i]
		got := make([]byte, len(part.Data))
		if err := img.ReadAt(t.Context(), got, part.Off); err != nil || !bytes.Equal(got, part.Data) {
			t.Fatalf("part %d: wrong bytes or %v", i, err)
		}
	}
}

// TestWaitingForATurnCanBeCancelled though who has the turn goes on.
func TestWaitingForATurnCanBeCancelled(t *testing.T) {
	image := formattest.Bytes(writeImage(t, smallDisk(), formats.CreateOptions{}))
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		img := opened(t, &slow{Source: image, release: release})
		first := make(chan error)
		go func() { first <- img.ReadAt(t.Context(), make([]byte, 4096), 30<<20) }()
		synctest.Wait() // it waits for the source
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error)
		go func() { second <- img.ReadAt(ctx, make([]byte, 4096), 48<<20) }()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who waits: %v", err)
		}
		close(release)
		if err := <-first; err != nil {
			t.Errorf("the one who has the turn: %v", err)
		}
	})
}

// slow waits before reads of chunks.
type slow struct {
	formats.Source
	release chan struct{}
}

func (s *slow) ReadAt(ctx context.Context, p []byte, off int64) error {
	if len(p) > headerSize {
		<-s.release
	}
	return s.Source.ReadAt(ctx, p, off)
}

// TestPlacesAreBounded passes as many blocks as a disk of several TiB has.
func TestPlacesAreBounded(t *testing.T) {
	k := newPlaces()
	rnd := rand.New(rand.NewPCG(1, 1))
	const blocks = 300_000
	for i := int64(1); i < blocks; i += 1 + rnd.Int64N(8) {
		k.add(pos(i, rnd.IntN(pieces)), codec.Place{})
		if i%4096 < 8 {
			i = i / 8 * 8
		}
		k.addMilestone(pos(i/firstEvery*firstEvery, 0), codec.Place{})
		if len(k.list) > maxRecent+maxMilestones || k.milestones > maxMilestones {
			t.Fatalf("%d places, %d of them milestones", len(k.list), k.milestones)
		}
	}
	if k.milestones < maxMilestones/2-1 {
		t.Errorf("only %d milestones are left", k.milestones)
	}
	for range 1000 {
		at := rnd.Int64N(blocks * pieces)
		got, _ := k.nearest(at)
		if got > at || at-got > 2*k.every*pieces {
			t.Errorf("the nearest place to %d is %d, with milestones every %d blocks", at, got, k.every)
		}
	}
}

// TestForwardReadingKeepsLittle reads a file forward whose windows would take more than is allowed.
func TestForwardReadingKeepsLittle(t *testing.T) {
	disk := manyBlocks()
	img := opened(t, formattest.Bytes(writeImage(t, disk, formats.CreateOptions{})))
	p := make([]byte, blockSize)
	for off := int64(0); off < disk.Parts[len(disk.Parts)-1].End(); off += blockSize {
		if err := img.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	var windows int
	for _, k := range img.places.list {
		windows += len(k.place.Window)
	}
	if most := (maxRecent + maxMilestones) * windowSize; windows > most || len(img.places.list) > maxRecent+maxMilestones {
		t.Errorf("%d places with windows of %d bytes", len(img.places.list), windows)
	}
}
