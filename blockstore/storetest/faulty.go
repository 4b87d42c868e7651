package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

// Op is a method of a store that can be made to fail.
type Op string

// These methods of a Faulty store can fail.
const (
	OpRead   Op = "Read"
	OpLookup Op = "Lookup"
	OpSave   Op = "Save"
	OpZero   Op = "Zero"
	OpCreate Op = "Create"
	OpSweep  Op = "Sweep"
)

// Fault is one planned failure. Call number Nth of Op, counted from 1, returns Err and does nothing
// else.
type Fault struct {
	Op  Op
	Nth int
	Err error
}

// Faulty is a store that fails as planned. It is safe for concurrent use.
type Faulty struct {
	blockstore.Store

	mu    sync.Mutex
	plan  []Fault // those that were not hit yet
	calls map[Op]int
}

// NewFaulty wraps a store. The test fails if a fault is not hit by its end, because then it tested
// something else.
func NewFaulty(t testing.TB, s blockstore.Store, plan ...Fault) *Faulty {
	f := &Faulty{Store: s, plan: plan, calls: map[Op]int{}}
	t.Cleanup(func() {
		for _, fault := range f.Missed() {
			t.Errorf("planned fault was not hit: call %d of %s, %v", fault.Nth, fault.Op, fault.Err)
		}
	})
	return f
}

// Missed returns the faults that were not hit.
func (f *Faulty) Missed() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Fault(nil), f.plan...)
}

// call counts a call and returns the error planned for it.
func (f *Faulty) call(op Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	for i, fault := range f.plan {
		if fault.Op == op && fault.Nth == f.calls[op] {
			f.plan = append(f.plan[:i:i], f.plan[i+1:]...)
			return fault.Err
		}
	}
	return nil
}

func (f *Faulty) Read(ctx context.Context, id blockstore.ID, p []byte, off int) error {
	if err := f.call(OpRead); err != nil {
		return err
	}
	return f.Store.Read(ctx, id, p, off)
}

func (f *Faulty) Lookup(disk uint64, block int64) (blockstore.Entry, error) {
	if err := f.call(OpLookup); err != nil {
		return blockstore.Entry{}, err
	}
	return f.Store.Lookup(disk, block)
}

func (f *Faulty) Save(ctx context.Context, disk uint64, off int64, plain []byte) error {
	if err := f.call(OpSave); err != nil {
		return err
	}
	return f.Store.Save(ctx, disk, off, plain)
}

func (f *Faulty) Zero(ctx context.Context, disk uint64, off, n int64) error {
	if err := f.call(OpZero); err != nil {
		return err
	}
	return f.Store.Zero(ctx, disk, off, n)
}

func (f *Faulty) Create(disk uint64, size int64, note string) error {
	if err := f.call(OpCreate); err != nil {
		return err
	}
	return f.Store.Create(disk, size, note)
}

func (f *Faulty) Sweep(ctx context.Context) (blockstore.Freed, error) {
	if err := f.call(OpSweep); err != nil {
		return blockstore.Freed{}, err
	}
	return f.Store.Sweep(ctx)
}
