package formattest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

func (r *runner) testRead(t *testing.T) {
	img := r.open(t)
	info := img.Info()
	if info.Size != r.c.Disk.Bytes {
		t.Fatalf("the disk has %d bytes, want %d", info.Size, r.c.Disk.Bytes)
	}
	if info.Format != r.name {
		t.Errorf("Info.Format = %q, want the driver's name, %q", info.Format, r.name)
	}
	edges := r.c.Disk.edges(info.ClusterSize)
	for _, edge := range edges {
		r.readAround(t, img, edge)
	}
	r.readWhole(t, img, edges)
	rnd := rand.New(rand.NewPCG(3, 5))
	for range 40 {
		off, n := r.pick(rnd, edges, maxRead)
		r.checkRead(t, img, off, n)
	}
}

// readAround reads across an edge whole, in pieces and byte by byte.
func (r *runner) readAround(t *testing.T, img formats.Image, edge int64) {
	t.Helper()
	from, to := max(0, edge-700), min(r.c.Disk.Bytes, edge+700)
	r.checkRead(t, img, from, to-from)
	for off := from; off < to; off += 311 {
		r.checkRead(t, img, off, min(311, to-off))
	}
	for off := max(from, edge-3); off < min(to, edge+3); off++ {
		r.checkRead(t, img, off, 1)
	}
	if to > from { // an empty read is one too
		if err := img.ReadAt(t.Context(), nil, from); err != nil {
			t.Errorf("ReadAt(off=%d, n=0) = %v", from, err)
		}
	}
}

// readWhole reads all there is between edges, cluster by cluster and in one go, as far as maxRead
// goes.
func (r *runner) readWhole(t *testing.T, img formats.Image, edges []int64) {
	t.Helper()
	cluster := img.Info().ClusterSize
	for i := range edges[1:] {
		from, to := edges[i], min(edges[i+1], edges[i]+maxRead)
		r.checkRead(t, img, from, to-from)
		for off := from; off < to; off += cluster {
			r.checkRead(t, img, off, min(cluster, to-off))
		}
	}
}

// Open opens an image in memory as the rest of the project does.
func Open(t testing.TB, d formats.Driver, image []byte, opts formats.OpenOptions) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), Bytes(image), "", opts)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// ReadAll reads a whole disk. The buffer starts as rubbish, so that bytes the driver leaves alone
// are found.
func ReadAll(t testing.TB, img formats.Image) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xDB}, int(img.Info().Size))
	if err := img.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// ReadFile reads a file whole.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
