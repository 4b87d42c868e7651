package packs

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// TestSaversShareSyncs lets savers wait while the writer is busy. The first of them must commit for
// all.
func TestSaversShareSyncs(t *testing.T) {
	plan := &faults{op: "sync"}
	s := openFaulty(t, plan)
	const savers = 40
	must(t, s.Create(1, savers*blockstore.BlockSize, ""))
	var reqs []*request
	for i := range int64(savers) {
		req := &request{disk: 1, first: i}
		must(t, s.prepare(t.Context(), req, storetest.Block(1+int(i)%10)))
		s.queue.add(req)
		reqs = append(reqs, req)
	}
	last := &request{disk: 2} // it fails alone, there is no such disk
	must(t, s.prepare(t.Context(), last, storetest.Block(1)))
	if err := s.enter(last); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
	for _, req := range reqs {
		if !req.done || req.err != nil {
			t.Fatalf("block %d: done %v, %v", req.first, req.done, req.err)
		}
	}
	if plan.calls > 3 { // one, and one more for each pack that became full
		t.Errorf("%d syncs for %d savers", plan.calls, savers)
	}
	if st, err := s.Stats(); err != nil || st.Blocks != 10 {
		t.Errorf("%+v, %v: want 10 blocks, saved %d times", st, err, savers)
	}
}

// TestSweptBetween sweeps a block after a saver found it in the store.
func TestSweptBetween(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	req := &request{disk: 1}
	must(t, s.prepare(t.Context(), req, storetest.Block(1)))
	if req.blocks[0].record != nil {
		t.Fatal("the block is compressed again")
	}
	must(t, s.Evict(1))
	freed, err := s.Sweep(t.Context())
	if err != nil || freed.Blocks != 1 {
		t.Fatalf("swept %+v, %v", freed, err)
	}
	must(t, s.enter(req))
	p := make([]byte, blockstore.BlockSize)
	if err := s.Read(t.Context(), blockstore.IDOf(storetest.Block(1)), p, 0); err != nil || !bytes.Equal(p, storetest.Block(1)) {
		t.Errorf("wrong bytes, or %v", err)
	}
}

// meanwhile is a context that calls a function when Err is called first.
type meanwhile struct {
	context.Context
	once sync.Once
	do   func()
}

func (c *meanwhile) Err() error {
	c.once.Do(c.do)
	return c.Context.Err()
}

// TestTouchedStays saves a garbage block again while a sweep is about to free it.
func TestTouchedStays(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, 2*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Blocks(1, 2)))
	must(t, s.Evict(1))
	saved := false
	ctx := &meanwhile{Context: t.Context(), do: func() { // the sweep has its view of the store by then
		must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
		saved = true
	}}
	if freed, err := s.Sweep(ctx); err != nil || freed.Blocks != 1 || !saved {
		t.Errorf("swept %+v, %v: want one block", freed, err)
	}
	must(t, s.Read(t.Context(), blockstore.IDOf(storetest.Block(1)), make([]byte, 9), 0))
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
}

func TestSaveCancelled(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.SegmentSize, ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range cap(s.cpus) { // no processor is free
		s.cpus <- struct{}{}
	}
	if err := s.Save(ctx, 1, 0, storetest.Block(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Save: %v", err)
	}
}
