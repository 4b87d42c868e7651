package raw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/raw"
)

// sparseSource has a hole wherever a whole block of 4096 bytes is zero.
type sparseSource struct{ formattest.Bytes }

const block = 4096

func (s sparseSource) hole(off int64) bool {
	b := off / block * block
	return len(bytes.Trim(s.Bytes[b:min(b+block, s.Size())], "\x00")) == 0
}

func (s sparseSource) Hole(_ context.Context, off, n int64) (bool, int64, error) {
	first, end := s.hole(off), off+1
	for end < off+n && s.hole(end) == first {
		end++
	}
	return first, end - off, nil
}

func (s sparseSource) Allocated() int64 {
	var sum int64
	for off := int64(0); off < s.Size(); off += block {
		if !s.hole(off) {
			sum += block
		}
	}
	return sum
}

// set is what opens raw images everywhere: the driver behind the checks all drivers share.
func set() formats.Set { return formats.Set{Fallback: raw.Driver{}} }

func open(t *testing.T, src formats.Source) formats.Image {
	t.Helper()
	img, err := set().Open(t.Context(), src, "", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// claiming lets the suite, which wants a driver to know its files, have its way.
type claiming struct{ raw.Driver }

func (claiming) Probe(context.Context, formats.Source) (bool, error) { return true, nil }

func TestConformance(t *testing.T) {
	file := content(rand.New(rand.NewPCG(1, 2)), 3<<20+512)
	formattest.Run(t, claiming{}, []formattest.Case{
		{Name: "raw", Image: file, Disk: formattest.Flat(file), PrefixValid: true, Maximal: true},
		{Name: "part of a sector", Image: file[:1<<20+7], Disk: formattest.Flat(append(bytes.Clone(file[:1<<20+7]), make([]byte, 505)...)), PrefixValid: true, Maximal: true},
	})
}

// content is a file of n bytes with blocks of random bytes among blocks of zeros.
func content(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for off := 0; off < n; off += block {
		if rng.IntN(2) == 0 {
			continue
		}
		for i := off; i < min(off+block, n); i++ {
			b[i] = byte(rng.Uint32()) | 1
		}
	}
	return b
}

func TestReadEqualsTheFileAndZerosBehindIt(t *testing.T) {
	for _, n := range []int{1, 511, 512, 513, 4096, 10 * block, 10*block + 100, 3*block + 4095} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			seed := uint64(n)
			rng := rand.New(rand.NewPCG(seed, 1))
			file := content(rng, n)
			want := make([]byte, (n+511)/512*512)
			copy(want, file)
			img := open(t, sparseSource{file})
			if got := img.Info().Size; got != int64(len(want)) {
				t.Fatalf("size = %d, want %d", got, len(want))
			}
			for range 200 {
				off := rng.IntN(len(want))
				got := bytes.Repeat([]byte{0xee}, rng.IntN(len(want)-off+1))
				if err := img.ReadAt(t.Context(), got, int64(off)); err != nil {
					t.Fatalf("seed %d: ReadAt(off=%d, n=%d): %v", seed, off, len(got), err)
				}
				if !bytes.Equal(got, want[off:off+len(got)]) {
					t.Fatalf("seed %d: ReadAt(off=%d, n=%d) differs from the file", seed, off, len(got))
				}
			}
		})
	}
}

func TestExtents(t *testing.T) {
	file := make([]byte, 4*block+100)
	for _, off := range []int{block, 2 * block, 4*block + 7} {
		file[off] = 1
	}
	tests := []struct {
		name string
		src  formats.Source
		want []formats.Extent
	}{
		{"sparse", sparseSource{file}, []formats.Extent{
			{Off: 0, Len: block, State: formats.Zero},
			{Off: block, Len: 2 * block, State: formats.Data},
			{Off: 3 * block, Len: block, State: formats.Zero},
			{Off: 4 * block, Len: 100, State: formats.Data},
			{Off: 4*block + 100, Len: 412, State: formats.Zero},
		}},
		{"plain", formattest.Bytes(file), []formats.Extent{
			{Off: 0, Len: 4*block + 100, State: formats.Data},
			{Off: 4*block + 100, Len: 412, State: formats.Zero},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img := open(t, tt.src)
			var got []formats.Extent
			for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("extents\n%v, want\n%v", got, tt.want)
			}
		})
	}
}

func TestAllocatedNeverExceedsTheFile(t *testing.T) {
	file := bytes.Repeat([]byte{1}, block+1) // two blocks of space for one block and a byte
	if got := open(t, sparseSource{file}).Info().Allocated; got != block+1 {
		t.Errorf("sparse: allocated = %d, want %d", got, block+1)
	}
	file = append(make([]byte, 3*block), 1)
	if got := open(t, sparseSource{file}).Info().Allocated; got != block {
		t.Errorf("a hole and a byte: allocated = %d, want the space taken, %d", got, block)
	}
}

// hugeSource claims a size and fails every read.
type hugeSource int64

var errRead = errors.New("the medium is broken")

func (s hugeSource) Size() int64                               { return int64(s) }
func (hugeSource) ReadAt(context.Context, []byte, int64) error { return errRead }

func (hugeSource) Hole(context.Context, int64, int64) (bool, int64, error) { return false, 0, errRead }
func (hugeSource) Allocated() int64                                        { return 0 }

func TestRefused(t *testing.T) {
	for _, size := range []int64{0, 1<<60 + 1, 1<<63 - 1} {
		if _, err := set().Open(t.Context(), hugeSource(size), "raw", formats.OpenOptions{}); err == nil {
			t.Errorf("a file of %d bytes was taken", size)
		}
	}
	for _, size := range []int64{-512, 0, 1, 513, 1<<60 + 512} {
		if _, err := (raw.Driver{}).Create(size, formats.CreateOptions{}); err == nil {
			t.Errorf("Create took a disk of %d bytes", size)
		}
	}
	if _, err := (raw.Driver{}).Create(512, formats.CreateOptions{Level: 3}); err == nil || !strings.Contains(err.Error(), "level") {
		t.Errorf("Create with a level: %v, want a refusal that names it", err)
	}
}

func TestSourceErrorsPassThrough(t *testing.T) {
	img := open(t, hugeSource(1<<40))
	if err := img.ReadAt(t.Context(), make([]byte, 10), 5); !errors.Is(err, errRead) {
		t.Errorf("ReadAt: %v, want the source's error", err)
	}
	if _, err := img.Extent(t.Context(), 0, 512); !errors.Is(err, errRead) {
		t.Errorf("Extent: %v, want the source's error", err)
	}
}

// file is a Target in memory.
type file struct{ b []byte }

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

func (f *file) Truncate(size int64) error {
	f.b = append(f.b, make([]byte, max(0, int(size)-len(f.b)))...)[:size]
	return nil
}

func TestCreatePutsClustersInPlaceAndStopsAtTheEnd(t *testing.T) {
	const size = 3*(64<<10) + 512
	enc, err := (raw.Driver{}).Create(size, formats.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cluster := enc.ClusterSize()
	want := make([]byte, size)
	var dst file
	for _, ci := range []int64{1, 3} {
		plain := make([]byte, cluster)
		for i := range min(cluster, size-ci*cluster) {
			plain[i] = byte(ci + i)
		}
		copy(want[ci*cluster:], plain)
		chunk, err := enc.Encode(nil, plain, ci)
		if err != nil {
			t.Fatal(err)
		}
		off, err := enc.Place(ci, len(chunk))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dst.WriteAt(chunk, off); err != nil {
			t.Fatal(err)
		}
	}
	if int64(len(dst.b)) != size {
		t.Errorf("the last chunk ends at %d, want the disk's end %d", len(dst.b), size)
	}
	if err := enc.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dst.b, want) {
		t.Error("the file differs from the disk")
	}
}

// allocating is a file that notes what is set aside, until there is no more space.
type allocating struct {
	file
	space, end int64
}

func (a *allocating) Allocate(off, n int64) error {
	if off != a.end || off+n > int64(len(a.b)) {
		return fmt.Errorf("[%d, +%d) after %d", off, n, a.end)
	}
	if a.end = off + n; a.end > a.space {
		return errRead
	}
	return nil
}

func (*allocating) Truncate(int64) error { return nil }

func TestPreallocation(t *testing.T) {
	const size = 3*(64<<10) + 512
	create := func(value string) formats.Encoder {
		enc, err := (raw.Driver{}).Create(size, formats.CreateOptions{Set: map[string]string{"preallocation": value}})
		if err != nil {
			t.Fatal(err)
		}
		return enc
	}
	whole := func(space int64) *allocating { return &allocating{file{make([]byte, size)}, space, 0} }
	for value, want := range map[string]int64{"off": 0, "full": size} {
		dst := whole(size)
		if err := create(value).Finish(t.Context(), dst); err != nil || dst.end != want {
			t.Errorf("%s: %d bytes were set aside, want %d; %v", value, dst.end, want, err)
		}
	}
	if err := create("full").Finish(t.Context(), whole(size-1)); !errors.Is(err, errRead) {
		t.Errorf("no space: %v", err)
	}
	if err := create("full").Finish(t.Context(), &file{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a target that cannot: %v", err)
	}
	for key, value := range map[string]string{"preallocation": "falloc", "prealloc": "full"} {
		_, err := (raw.Driver{}).Create(size, formats.CreateOptions{Set: map[string]string{key: value}})
		if err == nil || !strings.Contains(err.Error(), "preallocation") {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

// TestPreallocationIsGivenUp: a disk of 1 EiB is set aside in pieces, and who waits no more ends it.
func TestPreallocationIsGivenUp(t *testing.T) {
	enc, err := (raw.Driver{}).Create(formats.MaxDiskSize, formats.CreateOptions{Set: map[string]string{"preallocation": "full"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dst := &cancelling{cancel: cancel}
	if err := enc.Finish(ctx, dst); !errors.Is(err, context.Canceled) || dst.calls != 3 {
		t.Errorf("%d calls, %v", dst.calls, err)
	}
}

// cancelling is a Target that gives up at the third piece.
type cancelling struct {
	file
	cancel context.CancelFunc
	calls  int
}

func (c *cancelling) Truncate(int64) error { return nil }

func (c *cancelling) Allocate(_, _ int64) error {
	if c.calls++; c.calls == 3 {
		c.cancel()
	}
	return nil
}
