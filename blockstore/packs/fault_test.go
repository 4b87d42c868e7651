package packs

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// faults makes one call of one kind fail. With again it makes all later ones fail, too, until it is
// mended.
type faults struct {
	op    string
	nth   int
	again bool
	err   error

	calls  int
	hit    bool
	mended bool

	written int
}

func (f *faults) call(op string) error {
	if op != f.op || f.mended {
		return nil
	}
	f.calls++
	if f.calls == f.nth || f.again && f.calls > f.nth {
		f.hit = true
		return f.err
	}
	return nil
}

// writes counts a write and returns the number of writes so far.
func (f *faults) writes() int {
	f.written++
	return f.written
}

// faultyFile fails as planned; a failed write leaves half of its bytes.
type faultyFile struct {
	file
	plan *faults
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.plan.call("write")
	if f.plan.op == "truncate" && off > packHead && f.plan.writes() == 7 { // truncating follows a failure
		err = unix.EIO
	}
	if err != nil {
		n, _ := f.file.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.file.WriteAt(p, off)
}

func (f faultyFile) Sync() error {
	return errors.Join(f.plan.call("sync"), f.file.Sync())
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.plan.call("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f faultyFile) Punch(off, n int64) error {
	if err := f.plan.call("punch"); err != nil {
		return err
	}
	return f.file.Punch(off, n)
}

func (f faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.plan.call("read"); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, off)
}

// faultyDB fails as planned. A "late" failure comes after the transaction is made, as a failed sync
// can.
type faultyDB struct {
	database
	plan *faults
}

func (d faultyDB) Update(fn func(*kv.WriteTx) error) error {
	if err := d.plan.call("update"); err != nil {
		return err
	}
	err := d.database.Update(fn)
	return errors.Join(err, d.plan.call("late"))
}

// script saves, deletes, sweeps and compacts. It enters acknowledged blocks in saved: block numbers
// by disk.
func script(t *testing.T, s blockstore.Store, saved map[uint64][]int) (failed int) {
	note := func(err error) bool {
		if err != nil {
			failed++
		}
		return err == nil
	}
	for disk := uint64(1); disk <= 6; disk++ {
		if !note(s.Create(disk, 12*blockstore.BlockSize, "")) {
			continue
		}
		saved[disk] = make([]int, 12)
		for i := range saved[disk] {
			n := int(disk)*4*(1+i%6) + 1
			if i%2 == 0 {
				n--
			}
			if note(s.Save(t.Context(), disk, int64(i)*blockstore.BlockSize, storetest.Block(n))) {
				saved[disk][i] = n
			}
		}
		if disk%2 == 0 && note(s.Delete(disk-1)) {
			delete(saved, disk-1)
		} else if disk%2 == 0 {
			delete(saved, disk-1) // it is there or not
		}
		_, err := s.Sweep(t.Context())
		note(err)
		_, err = s.Compact(t.Context())
		note(err)
	}
	return failed
}

// checkSaved reads all acknowledged blocks.
func checkSaved(t *testing.T, s blockstore.Store, saved map[uint64][]int) {
	t.Helper()
	p := make([]byte, blockstore.BlockSize)
	for disk, blocks := range saved {
		for i, n := range blocks {
			if n == 0 {
				continue
			}
			e, err := s.Lookup(disk, int64(i))
			if err == nil {
				err = s.Read(t.Context(), e.ID, p, 0)
			}
			if err != nil || !bytes.Equal(p, storetest.Block(n)) {
				t.Errorf("disk %d, block %d: not what was saved, or %v", disk, i, err)
			}
		}
	}
}

// TestEveryStepFails makes each call of each kind fail, once or for good. The store must be whole
// afterwards: it must work when the fault is mended, and again when it is reopened.
func TestEveryStepFails(t *testing.T) {
	for _, op := range []string{"write", "sync", "truncate", "punch", "update", "late", "read"} {
		calls := countCalls(t, op)
		for _, again := range []bool{false, true} {
			for i := range 4 {
				plan := &faults{op: op, nth: 1 + i*(calls-1)/3, again: again, err: unix.ENOSPC}
				if i > 0 && calls == 1 {
					break
				}
				t.Run(fmt.Sprintf("%s/%d/again=%v", op, plan.nth, again), func(t *testing.T) {
					t.Parallel()
					testFault(t, plan)
				})
			}
		}
	}
}

// countCalls returns how many calls of a kind the script makes without failures. Truncate is only
// called after a failure, so a write fails for it.
func countCalls(t *testing.T, op string) int {
	if op == "truncate" {
		return 1
	}
	plan := &faults{op: op}
	s := openFaulty(t, plan)
	if n := script(t, s, map[uint64][]int{}); n > 0 || plan.calls == 0 {
		t.Fatalf("without faults, %d calls of %s, and %d steps of the script fail", plan.calls, op, n)
	}
	return plan.calls
}

func openFaulty(t *testing.T, plan *faults) *subject {
	t.Helper()
	dir := t.TempDir()
	db, err := kv.Open(dir, kv.Options{})
	must(t, err)
	opts := Options{PackSize: 300 << 10, FreeFloor: 1}
	opts.wrap = func(f file) file { return faultyFile{f, plan} }
	inner, err := Open(dir, faultyDB{db, plan}, opts)
	must(t, err)
	s := &subject{inner, dir, db}
	t.Cleanup(func() { s.close(t) })
	return s
}

func testFault(t *testing.T, plan *faults) {
	s := openFaulty(t, plan)
	saved := map[uint64][]int{}
	failed := script(t, s, saved)
	if !plan.hit {
		t.Fatalf("the planned fault was not hit: %d calls of %s", plan.calls, plan.op)
	}
	if failed == 0 && plan.op != "punch" && plan.op != "read" {
		t.Error("nothing failed")
	}
	plan.mended = true
	checkSaved(t, s, saved)
	must(t, s.Create(99, 2*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 99, 0, storetest.Blocks(97, 98)))
	saved[99] = []int{97, 98}

	s.opts.wrap = nil
	s = reopen(t, s)
	checkSaved(t, s, saved)
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
	for disk := range uint64(100) {
		must(t, s.Delete(disk))
	}
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if st, err := s.Stats(); err != nil || st.Blocks != 0 || st.Stored != 0 {
		t.Errorf("when all is deleted: %+v, %v", st, err)
	}
}
