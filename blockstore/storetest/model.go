package storetest

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

// Model is the expected content of a store: disks as rows of block numbers (see Block), or absent.
type Model struct {
	Disks map[uint64][]int
	first uint64
	next  uint64
	pool  [][]byte
}

const absent = -1

// poolSize is the number of different blocks. It is small, so that many blocks are shared.
const poolSize = 120

// NewModel returns an empty model. Its disks get the numbers after first.
func NewModel(first uint64) *Model {
	m := &Model{Disks: map[uint64][]int{}, first: first, next: first, pool: make([][]byte, poolSize)}
	for n := range m.pool {
		m.pool[n] = Block(n)
	}
	return m
}

// Clone returns a copy that further steps do not change.
func (m *Model) Clone() *Model {
	c := *m
	c.Disks = map[uint64][]int{}
	for disk, blocks := range m.Disks {
		c.Disks[disk] = slices.Clone(blocks)
	}
	return &c
}

// Step makes one random change to the store and the model. It returns an error if the store rejects
// the change.
func (m *Model) Step(ctx context.Context, rnd *rand.Rand, s blockstore.Store) error {
	if len(m.Disks) == 0 || len(m.Disks) < 6 && rnd.IntN(20) == 0 {
		m.next++
		blocks := 1 + rnd.IntN(2*blockstore.SegmentBlocks+20)
		m.Disks[m.next] = slices.Repeat([]int{absent}, blocks)
		return s.Create(m.next, int64(blocks)*blockstore.BlockSize, "")
	}
	disk := m.pick(rnd)
	blocks := m.Disks[disk]
	first := rnd.IntN(len(blocks))
	n := 1 + rnd.IntN(min(40, len(blocks)-first))
	switch step := rnd.IntN(100); {
	case step < 70:
		numbers := make([]int, n)
		for i := range numbers {
			numbers[i] = max(0, rnd.IntN(poolSize+10)-10)
		}
		copy(blocks[first:], numbers)
		return s.Save(ctx, disk, int64(first)*blockstore.BlockSize, m.plain(numbers))
	case step < 78: // often enough that segments become complete
		n = len(blocks) - first
		copy(blocks[first:], make([]int, n))
		return s.Zero(ctx, disk, int64(first)*blockstore.BlockSize, int64(n)*blockstore.BlockSize)
	case step < 82:
		m.next++
		clone := slices.Clone(blocks)
		switch rnd.IntN(4) { // most are as large
		case 0:
			clone = clone[:1+rnd.IntN(len(blocks))]
		case 1:
			clone = append(clone, slices.Repeat([]int{absent}, rnd.IntN(300))...)
		}
		m.Disks[m.next] = clone
		return s.Clone(disk, m.next, int64(len(clone))*blockstore.BlockSize, "")
	case step < 86:
		delete(m.Disks, disk)
		return s.Delete(disk)
	case step < 89:
		copy(blocks, slices.Repeat([]int{absent}, len(blocks)))
		return s.Evict(disk)
	case step < 95:
		_, err := s.Sweep(ctx)
		return err
	case step < 98:
		_, err := s.Compact(ctx)
		return err
	default:
		var found []error
		err := s.Verify(ctx, nil, func(damage error) { found = append(found, damage) })
		return errors.Join(append(found, err)...)
	}
}

func (m *Model) plain(numbers []int) []byte {
	var b []byte
	for _, n := range numbers {
		b = append(b, m.pool[n]...)
	}
	return b
}

// pick returns one of the disks. It does not depend on the order of the map, so that a seed
// repeats.
func (m *Model) pick(rnd *rand.Rand) uint64 {
	n := rnd.IntN(len(m.Disks))
	for disk := m.first + 1; ; disk++ {
		if _, ok := m.Disks[disk]; ok {
			if n--; n < 0 {
				return disk
			}
		}
	}
}

// Check compares the store's maps, bytes and counts with the model.
func (m *Model) Check(t testing.TB, s blockstore.Store) {
	t.Helper()
	p := make([]byte, blockstore.BlockSize)
	for disk, blocks := range m.Disks {
		var want blockstore.Status
		for i, n := range blocks {
			e, err := s.Lookup(disk, int64(i))
			switch {
			case err != nil:
				t.Fatalf("Lookup(%d, %d): %v", disk, i, err)
			case n == absent && e.State == blockstore.Absent:
				continue
			case n == 0 && e.State == blockstore.Zero:
			case n > 0 && e.State == blockstore.Data:
				want.Data++
				if err := s.Read(t.Context(), e.ID, p, 0); err != nil || !bytes.Equal(p, m.pool[n]) {
					t.Fatalf("disk %d, block %d: not the bytes that were saved; error %v", disk, i, err)
				}
			default:
				t.Fatalf("disk %d, block %d: the map says %v, the model %d", disk, i, e.State, n)
			}
			want.Loaded++
		}
		want.Total = int64(len(blocks))
		want.Size = want.Total * blockstore.BlockSize
		if st, err := s.Status(disk); err != nil || st != want {
			t.Fatalf("Status(%d) = %+v, %v, want %+v", disk, st, err, want)
		}
	}
	st, err := s.Stats()
	if err != nil || st.Disks != int64(len(m.Disks)) {
		t.Fatalf("Stats() = %+v, %v, want %d disks", st, err, len(m.Disks))
	}
}

// CheckBetween checks a store after an interrupted step. m is the model before the step, and after
// the model after it. Every block must be as in one of them, and disks in both must exist.
func (m *Model) CheckBetween(t testing.TB, s blockstore.Store, after *Model) {
	t.Helper()
	for disk, blocks := range m.Disks {
		next, stays := after.Disks[disk]
		if !stays {
			next = blocks
		}
		if _, err := s.Status(disk); !stays && errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		var known int64
		for i, n := range blocks {
			got, err := m.number(t.Context(), s, disk, int64(i))
			if err != nil || got != n && got != next[i] {
				t.Fatalf("disk %d, block %d: it is number %d, it was %d and was to become %d; error %v", disk, i, got, n, next[i], err)
			}
			if got != absent {
				known++
			}
		}
		if st, err := s.Status(disk); err != nil || st.Loaded != known {
			t.Fatalf("disk %d: Status() = %+v, %v; %d blocks are there", disk, st, err, known)
		}
	}
}

// number returns the number of the block at a place of a disk.
func (m *Model) number(ctx context.Context, s blockstore.Store, disk uint64, block int64) (int, error) {
	e, err := s.Lookup(disk, block)
	switch {
	case err != nil:
		return 0, err
	case e.State == blockstore.Absent, e.State == blockstore.Lost:
		return absent, nil
	case e.State == blockstore.Zero:
		return 0, nil
	}
	p := make([]byte, blockstore.BlockSize)
	if err := s.Read(ctx, e.ID, p, 0); err != nil {
		return 0, err
	}
	n := slices.IndexFunc(m.pool, func(known []byte) bool { return bytes.Equal(known, p) })
	if n < 0 {
		return 0, errors.New("it is none of the blocks that were saved")
	}
	return n, nil
}

func testModel(t *testing.T, subject Subject) {
	steps, seed := 1200, rand.Uint64()
	if testing.Short() {
		steps = 200
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s, m := subject.Open(t), NewModel(0)
	for i := range steps {
		if err := m.Step(t.Context(), rnd, s); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, i, err)
		}
		if subject.Reopen != nil && rnd.IntN(100) == 0 {
			s = subject.Reopen(t, s)
		}
		if i%100 == 99 || i == steps-1 {
			m.Check(t, s)
		}
	}
}

// testConcurrent runs savers, readers and sweeps at once. Each saver has its own disk and checks
// it.
func testConcurrent(t *testing.T, subject Subject) {
	seed := rand.Uint64()
	s := subject.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var savers, care sync.WaitGroup
	care.Go(func() {
		for ctx.Err() == nil {
			_, sweep := s.Sweep(ctx)
			_, compact := s.Compact(ctx)
			verify := s.Verify(ctx, nil, func(damage error) { t.Error(damage) })
			if err := errors.Join(sweep, compact, verify); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for disk := range uint64(4) {
		savers.Go(func() { save(ctx, t, s, disk, rand.New(rand.NewPCG(seed, disk))) })
	}
	savers.Wait()
	cancel()
	care.Wait()
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// save makes a disk, saves blocks that others save too, reads them back, evicts them, and repeats
// that.
func save(ctx context.Context, t *testing.T, s blockstore.Store, disk uint64, rnd *rand.Rand) {
	const blocks = 30
	if err := s.Create(disk, blocks*blockstore.BlockSize, ""); err != nil {
		t.Error(err)
		return
	}
	for range 40 {
		first, number := rnd.Int64N(blocks), 1+rnd.IntN(20)
		want := Block(number)
		if err := s.Save(ctx, disk, first*blockstore.BlockSize, want); err != nil {
			t.Error(err)
			return
		}
		e, err := s.Lookup(disk, first)
		if err != nil || e.State != blockstore.Data {
			t.Errorf("disk %d, block %d: %v, %v, and it was saved", disk, first, e, err)
			return
		}
		p := make([]byte, 5000)
		off := rnd.IntN(len(want) - len(p))
		if err := s.Read(ctx, e.ID, p, off); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
			t.Errorf("disk %d, block %d: wrong bytes, or error %v", disk, first, err)
			return
		}
		if rnd.IntN(4) == 0 {
			if err := s.Evict(disk); err != nil {
				t.Error(err)
				return
			}
		}
	}
}
