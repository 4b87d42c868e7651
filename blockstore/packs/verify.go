package packs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// verifyRounds is the number of parts that records are divided into by the first bits of their
// names. The list of one part is in memory.
const verifyRounds = 16

// Verify also checks the copies of maps in the packs, and replaces damaged ones.
func (s *Store) Verify(ctx context.Context, progress func(done, total int64), damaged func(error)) error {
	s.care.Lock()
	defer s.care.Unlock()
	s.writer.Lock()
	v := &verifier{s: s, progress: progress, damaged: damaged, total: s.counts.blocks}
	s.writer.Unlock()
	for round := range verifyRounds {
		entries, err := v.list(round)
		if err == nil {
			err = v.checkAll(ctx, entries)
		}
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

type verifier struct {
	s        *Store
	progress func(done, total int64)
	damaged  func(error)
	total    int64

	mu   sync.Mutex // guards done and the calls of progress and damaged
	done int64
}

// list returns the index entries of a round, sorted by place.
func (v *verifier) list(round int) ([]indexed, error) {
	var all []indexed
	err := v.s.db.View(func(tx *kv.Tx) error {
		const width = 256 / verifyRounds
		for _, k := range []kind{blockKind, segmentKind, rootKind} {
			for first := round * width; first < (round+1)*width; first++ {
				for e, err := range tx.Prefix(append([]byte(indexPrefix), byte(k), byte(first))) {
					if err != nil {
						return err
					}
					entry, err := parseIndexed(e)
					if err != nil {
						return err
					}
					all = append(all, entry)
				}
			}
		}
		return nil
	})
	sortByPlace(all)
	return all, err
}

func sortByPlace(all []indexed) {
	slices.SortFunc(all, func(a, b indexed) int {
		return cmp.Or(cmp.Compare(a.loc.pack, b.loc.pack), cmp.Compare(a.loc.off, b.loc.off))
	})
}

// checkAll checks entries on all processors, in order.
func (v *verifier) checkAll(ctx context.Context, entries []indexed) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			var record, plain []byte
			for {
				i := next.Add(1) - 1
				if i >= int64(len(entries)) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := v.check(&record, &plain, entries[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// check checks one record. It reports damage by calling damaged, and returns an error only if it
// cannot check.
func (v *verifier) check(record, plain *[]byte, e indexed) error {
	damage := v.s.whole(record, plain, e.kind, e.id, e.loc)
	if damage != nil {
		var err error
		if damage, err = v.s.mend(e); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if damage != nil && v.damaged != nil {
		v.damaged(damage)
	}
	if e.kind == blockKind {
		v.done++
	}
	if v.progress != nil && (v.done%256 == 0 || v.done == v.total) {
		v.progress(min(v.done, v.total), v.total)
	}
	return nil
}

// mend checks again a record that was found damaged. If it still is, and the index still names it,
// mend quarantines a block and rewrites a copy of the database's records. It returns the damage.
func (s *Store) mend(e indexed) (damage, err error) {
	s.writer.Lock()
	defer s.writer.Unlock()
	var now location
	var ok bool
	err = s.db.View(func(tx *kv.Tx) (err error) {
		now, ok, err = lookUp(tx, e.kind, e.id)
		return err
	})
	if err != nil || !ok || now != e.loc {
		return nil, err
	}
	var record, plain []byte
	wrong := s.whole(&record, &plain, e.kind, e.id, e.loc)
	if wrong == nil {
		return nil, nil
	}
	if damage = readError(e.loc, blockstore.ID(e.id), wrong); !errors.Is(damage, blockstore.ErrDamaged) {
		return nil, damage
	}
	if e.kind == blockKind {
		return damage, s.setAside(blockstore.ID(e.id), e.loc)
	}
	return damage, s.change(func(b *batch) error { return b.renew(e) })
}

// renew replaces a damaged copy of a map segment or a disk's root.
func (b *batch) renew(e indexed) error {
	if e.kind == rootKind {
		disk := diskOfRoot(e.id)
		d, err := b.disk(disk)
		if err != nil {
			return b.drop(e.kind, e.id) // the disk is gone
		}
		d.edited = d.complete()
		return nil
	}
	v, err := find(b.tx, segmentKey(blockstore.SegmentID(e.id)))
	if err != nil {
		return err
	}
	if err := b.drop(e.kind, e.id); err != nil || v == nil {
		return err
	}
	record, loc := appendRecord(nil, nil, segmentKind, e.id, v)
	return b.put(segmentKind, e.id, record, loc)
}
