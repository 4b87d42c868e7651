package zvhd

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

// directory knows where the chunks are, by their place in the file: chunk i is that of the i-th
// stored block.
type directory interface {
	// at returns chunk i, or ok false if there are no more than i.
	at(ctx context.Context, i int64) (r ref, ok bool, err error)
	// find returns the first chunk of a block from the given one on. Its run is at most max.
	find(ctx context.Context, block, max int64) (hit, error)
}

// hit is a chunk that was looked for.
type hit struct {
	ok  bool // there is one
	i   int64
	ref ref
	// run is the number of blocks stored from this one on without a gap, as far as is known without
	// a read.
	run int64
}

const (
	// maxWalked is how many chunks are remembered at most without an index.
	maxWalked = formats.MaxTables / 16
	walkPage  = 4096 // refs that are allocated at once: growing one slice would for a while take twice its memory
)

// walked is the directory of a file without an index. It follows the chunks as far as callers need.
type walked struct {
	src    formats.Source
	blocks int64         // the disk's
	turn   chan struct{} // holds one token while a caller walks on

	mu    sync.Mutex // guards the following
	pages [][]ref
	n     int64
	done  bool // there are no more than n
}

func newWalked(src formats.Source, blocks int64) *walked {
	return &walked{src: src, blocks: blocks, turn: make(chan struct{}, 1)}
}

func (d *walked) at(ctx context.Context, i int64) (ref, bool, error) {
	for {
		r, n, done := d.known(i)
		switch {
		case i < n:
			return r, true, nil
		case done:
			return ref{}, false, nil
		}
		if err := d.goOn(ctx, n); err != nil {
			return ref{}, false, err
		}
	}
}

func (d *walked) find(ctx context.Context, block, max int64) (hit, error) {
	for {
		h, n, done := d.search(block, max)
		if h.ok || done {
			return h, nil
		}
		if err := d.goOn(ctx, n); err != nil {
			return hit{}, err
		}
	}
}

// ref is chunk i, one of those known; the caller holds mu.
func (d *walked) ref(i int64) ref { return d.pages[i/walkPage][i%walkPage] }

// known returns chunk i if it is one of the n known so far. The one before chunk 0 always is.
func (d *walked) known(i int64) (r ref, n int64, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case i < 0:
		r = beforeFirst
	case i < d.n:
		r = d.ref(i)
	}
	return r, d.n, d.done
}

// search finds the first of the n known chunks that is of a block from the given one on.
func (d *walked) search(block, max int64) (h hit, n int64, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.i = int64(sort.Search(int(d.n), func(i int) bool { return int64(d.ref(int64(i)).block) >= block }))
	if h.i == d.n {
		return hit{}, d.n, d.done
	}
	h.ok, h.ref, h.run = true, d.ref(h.i), 1
	for h.run < max && h.i+h.run < d.n && int64(d.ref(h.i+h.run).block) == int64(h.ref.block)+h.run {
		h.run++
	}
	return h, d.n, d.done
}

// goOn finds the chunk after the n known ones, unless another caller has meanwhile.
func (d *walked) goOn(ctx context.Context, n int64) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.turn }()
	last, now, done := d.known(n - 1)
	switch {
	case now != n || done:
		return nil
	case n == maxWalked:
		return fmt.Errorf("zvhd: the file has more than the %d stored blocks that are read without an index: %w", maxWalked, errors.ErrUnsupported)
	}
	r, end, problem, err := nextRef(ctx, d.src, last, d.blocks)
	if err != nil {
		return err
	}
	if problem != "" {
		return formats.Corrupt(name, last.end(), "%s", problem)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done = end; end {
		return nil
	}
	if d.n%walkPage == 0 {
		d.pages = append(d.pages, make([]ref, 0, walkPage))
	}
	page := &d.pages[len(d.pages)-1]
	*page = append(*page, r)
	d.n++
	return nil
}
