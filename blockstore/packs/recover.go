package packs

import (
	"errors"
	"fmt"
	iofs "io/fs"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// recover indexes the records that a kill left after the last indexed one, and cuts off an
// incomplete record.
func (s *Store) recover() error {
	packs, err := s.files.list()
	if err != nil {
		return err
	}
	t := &s.tail
	known, next := t.pack, t.pack
	for _, pack := range packs {
		if pack < known {
			continue
		}
		next = max(next, pack)
		begin := int64(packHead)
		if pack == known {
			begin = t.end
		}
		if err := s.recoverPack(pack, begin); err != nil {
			return err
		}
	}
	current, err := t.current()
	if t.pack != next || !current { // the last pack gets no more
		t.pack, t.f = next, nil
	}
	return err
}

// recoverPack indexes the records of a pack from begin on. It makes the pack the tail if it can
// take more records.
func (s *Store) recoverPack(pack uint32, begin int64) error {
	t := &s.tail
	t.f = nil
	f, err := s.files.get(pack)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return err
	case errors.Is(err, errBadHeader) || errors.Is(err, iofs.ErrNotExist):
		return nil // a kill while it was made, or damage, which reads of it find
	case err != nil:
		return err
	}
	length, _, err := f.Size()
	if err != nil || length < begin {
		return err
	}
	t.pack, t.end, t.written = pack, begin, begin
	if length == begin {
		t.f = f
		return nil
	}
	end, err := s.reindex(f, pack, begin)
	if err != nil {
		return err
	}
	if err := f.Truncate(end); err != nil && !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("cut %s to %d bytes: %w", s.files.path(pack), end, err)
	}
	t.f, t.end, t.written = f, end, end
	return nil
}

// reindex indexes the intact blocks of a pack from begin on that the index lacks.
func (s *Store) reindex(f file, pack uint32, begin int64) (end int64, err error) {
	var ops []op
	flush := func() error {
		err := s.write(ops...)
		ops = ops[:0]
		return err
	}
	plain := make([]byte, 0, blockstore.BlockSize)
	end, err = scan(f, pack, begin, func(r found) (bool, error) {
		if s.checkRecord(&plain, r) != nil {
			return false, nil
		}
		if r.kind != blockKind { // its map was never entered
			return true, nil
		}
		var known bool
		err := s.db.View(func(tx *kv.Tx) (err error) {
			_, known, err = lookUp(tx, r.kind, r.id)
			return err
		})
		if err == nil && !known {
			ops = append(ops, op{indexKey(r.kind, r.id), r.loc.encode()})
			s.counts.blocks++
			s.counts.stored += r.loc.size()
		}
		if len(ops) >= maxOps {
			err = errors.Join(err, flush())
		}
		return true, err
	})
	if err != nil {
		return 0, err
	}
	s.tail.pack, s.tail.written = pack, end
	ops = append(ops, op{[]byte(tailKey), s.tail.encode(s.counts)})
	return end, flush()
}
