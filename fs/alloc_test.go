//go:build !race

package fs

import (
	"context"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/lazyload"
)

// A read of decoded data makes two small values, its ctx and its reply. Not under the race detector,
// which empties pools at random.
func TestReadAllocatesTwice(t *testing.T) {
	const size = 16 << 20
	l := lazyload.New(lazyload.Config{})
	d := l.Open(&island{size: size})
	h := newDiskHandle(&disk{}, held{d})
	h.direct = true // nothing is pushed into a page cache
	var ctx context.Context = &fuse.Context{Cancel: make(chan struct{})}
	p := make([]byte, 4096)
	read := func() {
		res, no := h.Read(ctx, p, size/2)
		if no != 0 {
			t.Fatal(no)
		}
		res.(*reply).giveBack()
	}
	read()                                            // decodes
	if n := testing.AllocsPerRun(100, read); n >= 3 { // below 3: the collector may empty the pool of views
		t.Errorf("%v allocations a read", n)
	}
	d.Close()
	must(t, l.Close())
}
