// Package storetest is the test suite of block stores, and a wrapper that injects faults into one.
//
// A store's own test calls Run with a Subject. The model test takes a store through random steps
// next to a model. Then it compares every block of every disk with the model.
package storetest

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

// Subject is a kind of store under test.
type Subject struct {
	// Open makes a new, empty store without limits.
	Open func(t testing.TB) blockstore.Store
	// Reopen closes the store and opens it again; nil if this kind keeps nothing.
	Reopen func(t testing.TB, s blockstore.Store) blockstore.Store
	// Damage changes the stored bytes of a block.
	Damage func(t testing.TB, s blockstore.Store, id blockstore.ID)
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"Model", testModel},
		{"Concurrent", testConcurrent},
		{"ReadParts", testReadParts},
		{"SharedBlocks", testSharedBlocks},
		{"Digest", testDigest},
		{"CloneOfAnotherSize", testCloneOfAnotherSize},
		{"Lost", testLost},
		{"Refusals", testRefusals},
		{"CancelledContext", testCancelled},
		{"LargeZeros", testLargeZeros},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, subject) })
	}
}

// Block returns the n-th block of a fixed set. Block 0 is zeros. Of the others some compress well,
// some a little, some not at all, and some are zeros but for a few bytes.
func Block(n int) []byte {
	b := make([]byte, blockstore.BlockSize)
	if n == 0 {
		return b
	}
	rnd := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	switch n % 4 {
	case 0:
		rnd.Read(b)
	case 1:
		words := make([]byte, 64)
		rnd.Read(words)
		for i := range words {
			words[i] = words[i]%26 + 'a'
		}
		for at := 0; at < len(b); at += 8 {
			copy(b[at:], words[rnd.Uint64()%57:][:8])
		}
	case 2:
		rnd.Read(b[:len(b)/2])
	case 3:
		at := rnd.Uint64() % uint64(len(b)-8)
		rnd.Read(b[at : at+8])
		b[at] |= 1
	}
	return b
}

// Blocks returns the blocks of these numbers in a row.
func Blocks(numbers ...int) []byte {
	var b []byte
	for _, n := range numbers {
		b = append(b, Block(n)...)
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testReadParts(t *testing.T, subject Subject) {
	s := subject.Open(t)
	must(t, s.Create(1, 4*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, Blocks(4, 5, 6, 7)))
	rnd := rand.New(rand.NewPCG(7, 7))
	for block := range int64(4) {
		e, err := s.Lookup(1, block)
		must(t, err)
		want := Block(int(4 + block))
		if e.State != blockstore.Data || e.ID != blockstore.IDOf(want) {
			t.Fatalf("Lookup(%d) = %v, want data of ID %s", block, e, blockstore.IDOf(want))
		}
		ranges := [][2]int{{0, 0}, {0, blockstore.BlockSize}, {blockstore.BlockSize, blockstore.BlockSize},
			{24 << 10, 44 << 10}, {24<<10 - 1, 24<<10 + 1}, {44 << 10, blockstore.BlockSize}}
		for range 60 {
			from := rnd.IntN(blockstore.BlockSize)
			ranges = append(ranges, [2]int{from, from + rnd.IntN(blockstore.BlockSize-from)})
		}
		for _, r := range ranges {
			p := bytes.Repeat([]byte{0xee}, r[1]-r[0])
			if err := s.Read(t.Context(), e.ID, p, r[0]); err != nil || !bytes.Equal(p, want[r[0]:r[1]]) {
				t.Fatalf("Read of bytes %d to %d of block %d: wrong bytes or error %v", r[0], r[1], block, err)
			}
		}
	}
	for _, r := range [][2]int{{-1, 1}, {0, blockstore.BlockSize + 1}, {blockstore.BlockSize, 1}} {
		if err := s.Read(t.Context(), blockstore.IDOf(Block(4)), make([]byte, r[1]), r[0]); !errors.Is(err, iofs.ErrInvalid) {
			t.Errorf("Read of %d bytes at %d: %v, want invalid", r[1], r[0], err)
		}
	}
	if err := s.Read(t.Context(), blockstore.IDOf(Block(99)), make([]byte, 1), 0); !errors.Is(err, blockstore.ErrNotFound) {
		t.Errorf("Read of a block that was never saved: %v, want ErrNotFound", err)
	}
}

func testSharedBlocks(t *testing.T, subject Subject) {
	s := subject.Open(t)
	for disk := range uint64(3) {
		must(t, s.Create(disk, 5*blockstore.BlockSize-100, ""))
		must(t, s.Save(t.Context(), disk, 0, Blocks(1, 2, 0, 1)))
		must(t, s.Save(t.Context(), disk, 4*blockstore.BlockSize, Block(0)[100:]))
	}
	if disks, err := s.Disks(); err != nil || !slices.Equal(disks, []uint64{0, 1, 2}) {
		t.Errorf("Disks() = %v, %v", disks, err)
	}
	st, err := s.Stats()
	must(t, err)
	if st.Disks != 3 || st.Blocks != 2 || st.Mapped != 9*blockstore.BlockSize {
		t.Errorf("Stats() = %+v: want 3 disks that map 9 data blocks, 2 of them different", st)
	}
	for disk := range uint64(3) {
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st, err = s.Stats(); err != nil || st.Blocks != 2 {
			t.Errorf("with %d disks: %d blocks (%v), want 2", 3-disk, st.Blocks, err)
		}
		must(t, s.Delete(disk))
	}
	freed, err := s.Sweep(t.Context())
	must(t, err)
	if st, err = s.Stats(); err != nil || st.Blocks != 0 || freed.Blocks != 2 || freed.Bytes <= 0 {
		t.Errorf("after the last disk's end: %+v, freed %+v, %v: want nothing", st, freed, err)
	}
}

func testDigest(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const size = blockstore.SegmentSize + 2*blockstore.BlockSize + 1234
	plain := make([]byte, size)
	copy(plain[3*blockstore.BlockSize:], Blocks(1, 2, 3, 0, 5))
	copy(plain[blockstore.SegmentSize:], Blocks(6, 0))
	plain[size-1] = 1
	must(t, s.Create(1, size, "a note"))
	must(t, s.Create(2, size, ""))
	if _, err := s.Digest(1); !errors.Is(err, blockstore.ErrIncomplete) {
		t.Errorf("digest of an empty map: %v, want ErrIncomplete", err)
	}
	must(t, s.Save(t.Context(), 1, 0, plain))
	const half = 100 * blockstore.BlockSize
	must(t, s.Save(t.Context(), 2, half, plain[half:]))
	must(t, s.Save(t.Context(), 2, 0, plain[:half]))
	must(t, s.Clone(1, 3, size, "a note"))
	want, err := blockstore.DigestPlain(t.Context(), Flat(plain), nil)
	must(t, err)
	for disk := range uint64(3) {
		if got, err := s.Digest(disk + 1); err != nil || got != want {
			t.Errorf("digest of disk %d: %s, %v; of its bytes: %s", disk+1, got, err, want)
		}
	}
	must(t, s.Evict(2))
	if st, err := s.Status(2); err != nil || st.Loaded != 0 || st.Data != 0 {
		t.Errorf("evicted: %+v, %v", st, err)
	}
	if _, err := s.Digest(2); !errors.Is(err, blockstore.ErrIncomplete) {
		t.Errorf("digest of an evicted disk: %v, want ErrIncomplete", err)
	}
}

// Flat is a disk in memory without holes, for DigestPlain.
type Flat []byte

func (f Flat) Size() int64 { return int64(len(f)) }

func (f Flat) ReadAt(ctx context.Context, p []byte, off int64) error {
	copy(p, f[off:])
	return ctx.Err()
}

func (f Flat) Hole(context.Context, int64, int64) (int64, error) { return 0, nil }

func testRefusals(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const size = 3*blockstore.BlockSize + 512
	must(t, s.Create(1, size, ""))
	ctx := t.Context()
	lookup := func(disk uint64, block int64) error { _, err := s.Lookup(disk, block); return err }
	status := func(disk uint64) error { _, err := s.Status(disk); return err }
	digest := func(disk uint64) error { _, err := s.Digest(disk); return err }
	for _, row := range []struct {
		name string
		err  error
		want error
	}{
		{"create twice", s.Create(1, 5, ""), iofs.ErrExist},
		{"create negative", s.Create(2, -1, ""), iofs.ErrInvalid},
		{"create too large", s.Create(2, blockstore.MaxDiskSize+1, ""), iofs.ErrInvalid},
		{"clone too large", s.Clone(1, 2, blockstore.MaxDiskSize+1, ""), iofs.ErrInvalid},
		{"long note", s.Create(2, 5, string(make([]byte, blockstore.MaxNote+1))), iofs.ErrInvalid},
		{"clone of none", s.Clone(7, 8, 5, ""), iofs.ErrNotExist},
		{"clone to one that is there", s.Clone(1, 1, 5, ""), iofs.ErrExist},
		{"lookup in none", lookup(7, 0), iofs.ErrNotExist},
		{"lookup behind the end", lookup(1, 4), iofs.ErrInvalid},
		{"lookup before the beginning", lookup(1, -1), iofs.ErrInvalid},
		{"status of none", status(7), iofs.ErrNotExist},
		{"digest of none", digest(7), iofs.ErrNotExist},
		{"evict none", s.Evict(7), iofs.ErrNotExist},
		{"none evictable", s.SetEvictable(7, true), iofs.ErrNotExist},
		{"delete none", s.Delete(7), nil},
		{"save to none", s.Save(ctx, 7, 0, Block(1)), iofs.ErrNotExist},
		{"zero in none", s.Zero(ctx, 7, 0, blockstore.BlockSize), iofs.ErrNotExist},
		{"save unaligned", s.Save(ctx, 1, 512, Block(1)), iofs.ErrInvalid},
		{"save half a block", s.Save(ctx, 1, 0, Block(1)[:512]), iofs.ErrInvalid},
		{"save beyond the end", s.Save(ctx, 1, 3*blockstore.BlockSize, Block(1)), iofs.ErrInvalid},
		{"save before the beginning", s.Save(ctx, 1, -blockstore.BlockSize, Block(1)), iofs.ErrInvalid},
		{"zero beyond the end", s.Zero(ctx, 1, 0, 4*blockstore.BlockSize), iofs.ErrInvalid},
		{"save the short end", s.Save(ctx, 1, 3*blockstore.BlockSize, Block(1)[:512]), nil},
	} {
		if !errors.Is(row.err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, row.err, row.want)
		}
	}
	if st, err := s.Status(1); err != nil || st != (blockstore.Status{Size: size, Loaded: 1, Data: 1, Total: 4}) {
		t.Errorf("after all refusals: %+v, %v", st, err)
	}
}

func testCancelled(t *testing.T, subject Subject) {
	s := subject.Open(t)
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, Block(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Read(ctx, blockstore.IDOf(Block(1)), make([]byte, 5), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v, want cancelled", err)
	}
	if _, err := s.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep: %v, want cancelled", err)
	}
	if err := s.Verify(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v, want cancelled", err)
	}
	if err := s.Read(t.Context(), blockstore.IDOf(Block(1)), make([]byte, 5), 0); err != nil {
		t.Errorf("Read after all that: %v", err)
	}
}

func testLargeZeros(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const size = 20<<30 + 77
	must(t, s.Create(1, size, ""))
	must(t, s.Zero(t.Context(), 1, 0, size))
	got, err := s.Digest(1)
	must(t, err)
	want, err := blockstore.DigestPlain(t.Context(), nothing(size), nil)
	must(t, err)
	if got != want {
		t.Errorf("digest of %d zeros: %s by the map, %s by the bytes", int64(size), got, want)
	}
}

// nothing is a disk that is one hole.
type nothing int64

func (n nothing) Size() int64 { return int64(n) }
func (n nothing) ReadAt(context.Context, []byte, int64) error {
	return errors.New("a hole is not read")
}
func (n nothing) Hole(_ context.Context, _ int64, len int64) (int64, error) { return len, nil }
