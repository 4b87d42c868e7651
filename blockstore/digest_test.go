package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

func digest(t testing.TB, disk blockstore.Plain) blockstore.Digest {
	t.Helper()
	d, err := blockstore.DigestPlain(t.Context(), disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// disk returns plain bytes with holes, zeros outside of holes, and data.
func disk(rnd *rand.Rand, size int) []byte {
	p := make([]byte, size)
	for off := 0; off < size; off += blockstore.BlockSize {
		if rnd.IntN(3) > 0 {
			for i := off; i < min(off+blockstore.BlockSize, size); i += 1 + rnd.IntN(9000) {
				p[i] = byte(rnd.Uint32())
			}
		}
	}
	return p
}

// holed knows the runs of zeros of its bytes, or returns shorter ones; a Plain may do either.
type holed struct {
	storetest.Flat
	most int64
}

func (h holed) Hole(_ context.Context, off, n int64) (int64, error) {
	p := h.Flat[off:][:min(n, h.most)]
	return int64(len(p) - len(bytes.TrimLeft(p, "\x00"))), nil
}

var sizes = []int{0, 1, 511, blockstore.BlockSize, blockstore.BlockSize + 1, blockstore.SegmentSize - 1,
	blockstore.SegmentSize, 2*blockstore.SegmentSize + 3*blockstore.BlockSize + 700}

// TestDigestInPython runs the definition in the documentation.
func TestDigestInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("python3 is not installed")
	}
	page, err := os.ReadFile("../docs/blockstore.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(page), "```python\n")
	program, _, ok := strings.Cut(program, "```")
	if !ok {
		t.Fatal("docs/blockstore.md has no Python")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range sizes {
		plain := disk(rnd, size)
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, plain, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", program, path).CombinedOutput()
		if got, want := strings.TrimSpace(string(out)), digest(t, storetest.Flat(plain)).String(); err != nil || got != want {
			t.Errorf("%d bytes: Python says %s (%v), we say %s", size, got, err, want)
		}
	}
}

func TestDigestKnowsHoles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range sizes {
		plain := disk(rnd, size)
		want := digest(t, storetest.Flat(plain))
		for _, most := range []int64{700, blockstore.BlockSize, 5*blockstore.BlockSize + 1, 1 << 40} {
			if got := digest(t, holed{plain, most}); got != want {
				t.Errorf("%d bytes, holes of at most %d: digest %s, want %s", size, most, got, want)
			}
		}
		if size == 0 {
			continue
		}
		plain[rnd.IntN(size)] ^= 1
		if digest(t, storetest.Flat(plain)) == want {
			t.Errorf("%d bytes: a flipped bit leaves the digest as it is", size)
		}
	}
}

// hole is a disk of zeros. It reports one hole, and reading it fails.
type hole int64

func (h hole) Size() int64                                         { return int64(h) }
func (h hole) ReadAt(context.Context, []byte, int64) error         { return errRead }
func (h hole) Hole(_ context.Context, off, n int64) (int64, error) { return n, nil }

var errRead = errors.New("cannot read")

func TestDigestOfHoles(t *testing.T) {
	begun := time.Now()
	digest(t, hole(1<<40+5))
	if took := time.Since(begun); took > time.Minute { // hashing it would take longer
		t.Errorf("a hole of a tebibyte took %v", took)
	}
	if _, err := blockstore.DigestPlain(t.Context(), hole(blockstore.MaxDiskSize+1), nil); err == nil {
		t.Error("a disk beyond the limit has a digest")
	}
}

// unreadable has data everywhere and reads none of it.
type unreadable struct{ hole }

func (unreadable) Hole(context.Context, int64, int64) (int64, error) { return 0, nil }

func TestDigestFails(t *testing.T) {
	if _, err := blockstore.DigestPlain(t.Context(), unreadable{1 << 30}, nil); !errors.Is(err, errRead) {
		t.Errorf("unreadable disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := blockstore.DigestPlain(ctx, hole(1<<30), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkDigest(b *testing.B) {
	plain := storetest.Flat(disk(rand.New(rand.NewPCG(5, 6)), 128<<20))
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		digest(b, plain)
	}
}
