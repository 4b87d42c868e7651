package zvhd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// goldenOptions are what the vendor's tool was given or made up, as far as it is in the file.
func goldenOptions(golden []byte) formats.CreateOptions {
	h := decodeHeader(golden)
	return formats.CreateOptions{Timestamp: zstream.SecondsTo2000 + int64(h.Timestamp), UUID: h.UUID, Level: 1}
}

// TestWritesAllButThePayloadsAsTheVendor lays out the vendor's own chunks and wants the vendor's own file.
func TestWritesAllButThePayloadsAsTheVendor(t *testing.T) {
	for _, name := range goldenFiles {
		t.Run(name, func(t *testing.T) {
			golden := readFile(t, name+".zvhd")
			h := decodeHeader(golden)
			e := newEncoder(t, int64(h.OriginalSize), goldenOptions(golden))
			var dst formattest.Memory
			for _, r := range refsOf(t, golden) {
				put(t, e, &dst, int64(r.block), golden[r.off:r.end()])
			}
			if err := e.Finish(t.Context(), &dst); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst.B, golden) {
				t.Errorf("%d bytes that are not the vendor's %d", len(dst.B), len(golden))
			}
		})
	}
}

// TestWritesTheVendorsDisks encodes what the golden files hold and compares every structure.
func TestWritesTheVendorsDisks(t *testing.T) {
	for _, name := range goldenFiles {
		t.Run(name, func(t *testing.T) {
			golden, disk := readFile(t, name+".zvhd"), goldenDisk(t, name)
			image := writeWith(t, newEncoder(t, int64(decodeHeader(golden).OriginalSize), goldenOptions(golden)), disk)
			if !bytes.Equal(image[:unit], golden[:unit]) || !bytes.Equal(image[len(image)-unit:], golden[len(golden)-unit:]) {
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
			if len(ours) > 0 && !bytes.Equal(image[unit+48:][:2], golden[unit+48:][:2]) {
				t.Error("the zlib headers differ")
			}
			wantDisk(t, image, disk)
			expectProblems(t, image)
		})
	}
}

var update = flag.Bool("update", false, "write the golden files of our own writing anew")

// TestGoldenOutput keeps what we write as it is: the same disk gives the same bytes in every release, until a new compression
// library is worth the change (-update).
func TestGoldenOutput(t *testing.T) {
	disk := formattest.Disk{Bytes: 1 << 30, Parts: []formattest.Part{
		{Off: 3<<20 - 700, Data: formattest.Pattern(3<<20-700, 5000)},
		{Off: 4<<20 - 20_000, Data: formattest.Prose(40_000)},
		{Off: 9<<20 - 512, Data: noise(512)},
	}}
	image := writeImage(t, disk, formats.CreateOptions{Timestamp: 1_600_000_000, UUID: [16]byte{1, 2, 3}})
	if *update {
		if err := os.WriteFile("testdata/out/disk.zvhd", image, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if golden := readFile(t, "out/disk.zvhd"); !bytes.Equal(image, golden) {
		t.Errorf("%d bytes that are not the %d of testdata/out/disk.zvhd", len(image), len(golden))
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
	if sync := ours[end-4 : end]; !bytes.Equal(sync, []byte{0, 0, 0xff, 0xff}) {
		t.Errorf("the payload ends in %x, which is no sync flush", sync)
	}
}

// inflate is a Python program that inflates one stream with zlib, and wants it to be unfinished and to have given no more.
const inflate = `
import sys, zlib
d = zlib.decompressobj()
sys.stdout.buffer.write(d.decompress(sys.stdin.buffer.read()))
assert not d.eof and not d.unused_data and not d.flush()
`

// TestPayloadsAreOneStreamForZlib lets zlib itself inflate what we write, one payload behind the other: the vendor's
// driver does just that.
func TestPayloadsAreOneStreamForZlib(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skipf("this test needs python3 (apt-get install python3): %v", err)
	}
	disk := smallDisk()
	for _, level := range []int{1, 6, 9} {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			image := writeImage(t, disk, formats.CreateOptions{Level: level})
			var stream, want bytes.Buffer
			for _, r := range refsOf(t, image) {
				compressed, problem := payload(image[r.off:r.end()], r)
				if problem != "" {
					t.Fatal(problem)
				}
				stream.Write(compressed)
				plain := make([]byte, blockSize)
				disk.Fill(plain, int64(r.block)*blockSize)
				want.Write(plain)
			}
			cmd := exec.CommandContext(t.Context(), python, "-c", inflate)
			cmd.Stdin = &stream
			got, err := cmd.Output()
			if err != nil {
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					t.Logf("%s", exit.Stderr)
				}
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("zlib inflates %d other bytes", len(got))
			}
		})
	}
}

func TestEveryLevelReadsBack(t *testing.T) {
	disk := formattest.Disk{Bytes: 1 << 30, Parts: []formattest.Part{{Off: blockSize - 150_000, Data: formattest.Prose(300_000)}}}
	sizes := map[int]int{}
	for level := range 10 {
		image := writeImage(t, disk, formats.CreateOptions{Level: level})
		wantContent(t, image, disk)
		if problem := checkStream(image[unit+zstream.ChunkHeaderSize:]); problem != "" {
			t.Errorf("level %d: %s", level, problem)
		}
		sizes[level] = len(image)
	}
	if sizes[0] != sizes[6] || sizes[9] > sizes[1] {
		t.Errorf("sizes by level: %v", sizes)
	}
}

// TestBlocksCompressTogether: a block that goes on like the one before it is smaller behind it than alone.
func TestBlocksCompressTogether(t *testing.T) {
	e := newEncoder(t, 1<<30, formats.CreateOptions{})
	plain := append(noise(30_000), make([]byte, blockSize-30_000)...)
	alone, err := e.Encode(nil, plain, 0)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := e.EncodeAfter(nil, plain, 1, append(make([]byte, 2768), plain[:30_000]...))
	if err != nil {
		t.Fatal(err)
	}
	if len(behind) > len(alone)/3 {
		t.Errorf("%d bytes alone, %d after the same", len(alone), len(behind))
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
		{512, formats.CreateOptions{Level: 10}, "level 10"},
		{512, formats.CreateOptions{Set: map[string]string{"colour": "red"}}, "colour"},
	} {
		_, err := New().Create(c.size, c.opts)
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
	for _, c := range []struct{ n, ci int64 }{{blockSize, 8}, {blockSize, -1}, {512, 0}} {
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
	e.stored = maxWalked
	if _, err := e.Place(4, unit); err == nil {
		t.Error("more blocks are placed than can be read back")
	}
}

func TestEncodeIsDeterministicOnManyGoroutines(t *testing.T) {
	e := newEncoder(t, 64<<20, formats.CreateOptions{})
	plain, before := formattest.Pattern(0, blockSize), formattest.Pattern(7, 32<<10)
	want, err := e.EncodeAfter(nil, plain, 7, before)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dst := make([]byte, 100, 3<<20)
			for range 3 {
				got, err := e.EncodeAfter(dst, plain, 7, before)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("another chunk, or %v", err)
				}
				if _, err := e.Encode(dst, noise(blockSize), 3); err != nil { // leaves its traces in pooled encoders
					t.Error(err)
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
	for left := range 3 { // header, copy, size
		if err := e.Finish(t.Context(), &formattest.Failing{Left: left}); !errors.Is(err, formattest.ErrFull) {
			t.Errorf("operation %d failed and Finish = %v", left, err)
		}
	}
	if err := e.Finish(t.Context(), &formattest.Failing{Left: 3}); err != nil {
		t.Errorf("three operations are not enough: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Finish(ctx, &formattest.Memory{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Finish = %v", err)
	}
}
