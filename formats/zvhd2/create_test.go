package zvhd2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// goldenOptions are the options with which a golden file's header comes out again.
func goldenOptions(image []byte) formats.CreateOptions {
	f := decodeFooter(image)
	return formats.CreateOptions{Timestamp: zstream.SecondsTo2000 + int64(f.Timestamp), UUID: f.UUID}
}

// vendorLike are the golden files of the one shape we write.
var vendorLike = []string{"tiny", "odd", "wide", "zero"}

// TestWritesAllButThePayloadsAsTheVendor lays out the vendor's own chunks with our encoder. Then everything must
// come out as in the vendor's file, byte for byte: header, its copy with the stale checksum, index, bitmap, footer.
func TestWritesAllButThePayloadsAsTheVendor(t *testing.T) {
	for _, name := range vendorLike {
		t.Run(name, func(t *testing.T) {
			golden := readFile(t, name+".zvhd2")
			e := newEncoder(t, int64(finalFooter(golden).OriginalSize), goldenOptions(golden))
			var dst formattest.Memory
			for _, r := range refsOf(t, golden) {
				off, err := e.Place(int64(r.block), int(r.size))
				if err != nil {
					t.Fatal(err)
				}
				if off != r.off {
					t.Errorf("the chunk of block %d is placed at %d, the vendor's is at %d", r.block, off, r.off)
				}
				if _, err := dst.WriteAt(golden[r.off:r.end()], off); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Finish(t.Context(), &dst); err != nil {
				t.Fatal(err)
			}
			if i := firstDifference(dst.B, golden); i >= 0 {
				t.Errorf("byte %d of %d differs from the vendor's file of %d bytes", i, len(dst.B), len(golden))
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// TestWritesTheVendorsDisks encodes what the golden files hold and compares every structure: fields that must
// follow the payloads' lengths are worked out here, all others are those of the vendor's file.
func TestWritesTheVendorsDisks(t *testing.T) {
	for _, name := range vendorLike {
		t.Run(name, func(t *testing.T) {
			golden := readFile(t, name+".zvhd2")
			disk := goldenDisk(t, name)
			model := disk
			disk.Bytes = int64(finalFooter(golden).OriginalSize)
			image := writeImage(t, disk, goldenOptions(golden))
			if !bytes.Equal(image[:unit], golden[:unit]) {
				t.Error("the headers differ")
			}
			ours, theirs := refsOf(t, image), refsOf(t, golden)
			if len(ours) != len(theirs) {
				t.Fatalf("%d chunks, the vendor has %d", len(ours), len(theirs))
			}
			end := int64(unit)
			for i, r := range ours {
				if r.block != theirs[i].block || r.off != end {
					t.Errorf("chunk %d is of block %d at %d, want block %d at %d", i, r.block, r.off, theirs[i].block, end)
				}
				end = r.end()
				compareChunks(t, image[r.off:r.end()], golden[theirs[i].off:theirs[i].end()])
			}
			want := finalFooter(golden)
			want.indexLBA = uint64(end + unit)
			want.bitmapLBA = want.indexLBA + uint64(want.indexSize)
			want.Checksum = zstream.Sum(want.encode())
			if got := finalFooter(image); got != want {
				t.Errorf("final footer = %+v, want %+v", got, want)
			}
			if stale, vendors := image[end:end+unit], golden[finalFooter(golden).indexLBA-unit:][:unit]; !bytes.Equal(stale, vendors) {
				t.Error("the copies of the header differ")
			}
			wantDisk(t, image, model)
			expectProblems(t, image)
		})
	}
}

// compareChunks compares a chunk with the vendor's in all but the payload and the vendor's unclean padding.
func compareChunks(t *testing.T, ours, theirs []byte) {
	t.Helper()
	if !bytes.Equal(ours[:12], theirs[:12]) || !bytes.Equal(ours[16:zstream.ChunkHeaderSize], theirs[16:zstream.ChunkHeaderSize]) {
		t.Errorf("chunk header %x, the vendor's is %x", ours[:zstream.ChunkHeaderSize], theirs[:zstream.ChunkHeaderSize])
	}
	h, problem := zstream.DecodeChunkHead(ours)
	if problem != "" {
		t.Fatal(problem)
	}
	end := zstream.ChunkHeaderSize + int(h.Compressed)
	padding := ours[end : len(ours)-len(zstream.ChunkTrailer)]
	if !bytes.Equal(padding, make([]byte, len(padding))) || int64(len(ours)) != h.Size() || string(ours[len(ours)-4:]) != zstream.ChunkTrailer {
		t.Errorf("the end of a chunk of %d bytes with %d compressed is wrong", len(ours), h.Compressed)
	}
}

// TestPayloadsAreFramesForEveryZstd lets the zstd tool decode what we write: it is built on the library that the
// vendor's driver uses, and verifies the frames' checksums.
func TestPayloadsAreFramesForEveryZstd(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Fatalf("this test needs the zstd tool (apt-get install zstd): %v", err)
	}
	disk := goldenDisk(t, "tiny")
	image := writeImage(t, disk, formats.CreateOptions{})
	for _, r := range refsOf(t, image) {
		compressed, problem := payload(image[r.off:r.end()], r)
		if problem != "" {
			t.Fatal(problem)
		}
		cmd := exec.CommandContext(t.Context(), tool, "-d", "-c", "-q")
		cmd.Stdin = bytes.NewReader(compressed)
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("block %d: %v", r.block, err)
		}
		want := make([]byte, defaultBlockSize)
		disk.Fill(want, int64(r.block)*defaultBlockSize)
		if !bytes.Equal(got, want) {
			t.Errorf("block %d: zstd decodes %d other bytes", r.block, len(got))
		}
	}
}

func TestManyIndexSegments(t *testing.T) {
	const blocks = entriesPerSeg + 5
	e := newEncoder(t, blocks*2*defaultBlockSize, formats.CreateOptions{})
	plain := bytes.Repeat([]byte("x"), defaultBlockSize)
	var dst formattest.Memory
	for i := range int64(blocks) {
		chunk := make([]byte, unit) // only a few chunks are ever read
		if i == 0 || i >= entriesPerSeg-1 {
			var err error
			if chunk, err = e.Encode(nil, plain, 2*i); err != nil {
				t.Fatal(err)
			}
		}
		off, err := e.Place(2*i, len(chunk))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 || i >= entriesPerSeg-1 {
			if _, err := dst.WriteAt(chunk, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	if f := finalFooter(dst.B); f.indexSegNum != 2 || f.bitmapSegNum != 3 {
		t.Errorf("%d index and %d bitmap segments, want 2 and 3", f.indexSegNum, f.bitmapSegNum)
	}
	img := openSource(t, formattest.Bytes(dst.B))
	got := make([]byte, defaultBlockSize)
	for _, i := range []int64{0, entriesPerSeg - 1, entriesPerSeg, blocks - 1} {
		if err := img.ReadAt(t.Context(), got, 2*i*defaultBlockSize); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("block %d: wrong bytes or %v", 2*i, err)
		}
		if err := img.ReadAt(t.Context(), got, (2*i+1)*defaultBlockSize); err != nil || !bytes.Equal(got, make([]byte, len(got))) {
			t.Errorf("block %d: not zeros or %v", 2*i+1, err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		size int64
		opts formats.CreateOptions
		word string
	}{
		{0, formats.CreateOptions{}, "512"},
		{-512, formats.CreateOptions{}, "512"},
		{513, formats.CreateOptions{}, "512"},
		{maxCreateSize + 512, formats.CreateOptions{}, fmt.Sprint(int64(maxCreateSize))},
		{formats.MaxDiskSize, formats.CreateOptions{}, "at most"},
		{512, formats.CreateOptions{Level: 23}, "level 23"},
	} {
		_, err := newDriver().Create(c.size, c.opts)
		if err == nil {
			t.Errorf("Create(%d, %+v) was accepted", c.size, c.opts)
			continue
		}
		formattest.WantError(t, err, err, c.word)
	}
	for _, size := range []int64{512, maxCreateSize} {
		var dst formattest.Memory
		if err := newEncoder(t, size, formats.CreateOptions{}).Finish(t.Context(), &dst); err != nil {
			t.Fatal(err)
		}
		openSource(t, formattest.Bytes(dst.B))
	}
}

func TestCreateTakesTheNearestTimestamp(t *testing.T) {
	for timestamp, want := range map[int64]string{
		-1:                            "2000-01-01T00:00:00Z",
		0:                             "2000-01-01T00:00:00Z",
		1:                             "2000-01-01T00:00:00Z",
		zstream.SecondsTo2000 + 61:    "2000-01-01T00:01:01Z",
		zstream.SecondsTo2000 + 1<<32: "2136-02-07T06:28:15Z",
		math.MaxInt64:                 "2136-02-07T06:28:15Z",
	} {
		var dst formattest.Memory
		if err := newEncoder(t, 512, formats.CreateOptions{Timestamp: timestamp}).Finish(t.Context(), &dst); err != nil {
			t.Fatal(err)
		}
		details := openSource(t, formattest.Bytes(dst.B)).Info().Details
		if !slices.Contains(details, formats.Detail{Key: "timestamp", Value: want}) {
			t.Errorf("timestamp %d is recorded as %v, want %s", timestamp, details, want)
		}
	}
}

func TestEncoderRefusesMisuse(t *testing.T) {
	e := newEncoder(t, 16<<20, formats.CreateOptions{})
	for _, c := range []struct{ n, ci int64 }{{defaultBlockSize, 8}, {defaultBlockSize, -1}, {512, 0}} {
		if _, err := e.Encode(nil, make([]byte, c.n), c.ci); err == nil {
			t.Errorf("Encode of %d bytes for block %d was accepted", c.n, c.ci)
		}
	}
	if _, err := e.Place(3, unit); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ci int64
		n  int
	}{{3, unit}, {2, unit}, {-1, unit}, {8, unit}, {4, 0}, {4, unit + 1}, {4, 8 << 20}} {
		if _, err := e.Place(c.ci, c.n); err == nil {
			t.Errorf("Place(%d, %d) was accepted", c.ci, c.n)
		}
	}
}

func TestEncodeIsDeterministicOnManyGoroutines(t *testing.T) {
	e := newEncoder(t, 64<<20, formats.CreateOptions{})
	plain := formattest.Pattern(0, defaultBlockSize)
	want, err := e.Encode(nil, plain, 7)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dst := make([]byte, 100, 3<<20)
			for range 3 {
				got, err := e.Encode(dst, plain, 7)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("another chunk, or %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFinishTellsOfEveryFailedWrite(t *testing.T) {
	e := newEncoder(t, 16<<20, formats.CreateOptions{})
	if _, err := e.Place(0, unit); err != nil {
		t.Fatal(err)
	}
	for left := range 6 { // header, copy, index, bitmap, footer, size
		if err := e.Finish(t.Context(), &formattest.Failing{Left: left}); !errors.Is(err, formattest.ErrFull) {
			t.Errorf("write %d failed and Finish = %v", left, err)
		}
	}
	if err := e.Finish(t.Context(), &formattest.Failing{Left: 6}); err != nil {
		t.Errorf("six operations are not enough: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Finish(ctx, &formattest.Memory{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Finish = %v", err)
	}
}
