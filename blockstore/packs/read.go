package packs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

func (s *Store) Read(ctx context.Context, id blockstore.ID, p []byte, off int) error {
	if off < 0 || len(p) > blockstore.BlockSize || off > blockstore.BlockSize-len(p) {
		return fmt.Errorf("block %s has no bytes %d to %d: %w", id, off, off+len(p), iofs.ErrInvalid)
	}
	var last location
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		loc, err := s.find(id)
		if err != nil {
			return err
		}
		err = s.readAt(loc, id, p, off)
		if err == nil {
			return nil
		}
		// The block may have been moved or freed meanwhile. It is damaged only if it fails
		// twice at one place.
		if loc == last {
			return readError(loc, id, err)
		}
		last = loc
	}
}

// find looks a block up.
func (s *Store) find(id blockstore.ID) (loc location, err error) {
	err = s.db.View(func(tx *kv.Tx) error {
		var ok bool
		loc, ok, err = lookUp(tx, blockKind, name(id))
		if err == nil && !ok {
			err = fmt.Errorf("block %s: %w", id, blockstore.ErrNotFound)
		}
		return err
	})
	if err == nil && sliceStart(loc.count, loc.count) != blockstore.BlockSize {
		err = damagedKey(indexKey(blockKind, name(id)), "it is not a whole block's")
	}
	return loc, err
}

// readAt reads the slices that p needs in one read of the pack.
func (s *Store) readAt(loc location, id blockstore.ID, p []byte, off int) error {
	if len(p) == 0 {
		return nil
	}
	f, err := s.files.get(loc.pack)
	if err != nil {
		return err
	}
	first, last := sliceAt(loc.count, off), sliceAt(loc.count, off+len(p)-1)
	begin := loc.slice(first)
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	b := (*buf)[:loc.slice(last+1)-begin]
	if n, err := f.ReadAt(b, loc.off+begin); n < len(b) {
		return err
	}
	for i := first; i <= last; i++ {
		stored := b[loc.slice(i)-begin : loc.slice(i+1)-begin]
		start, end := sliceStart(loc.count, i)-off, sliceStart(loc.count, i+1)-off
		if err := s.readSlice(p, start, end, id, i, stored); err != nil {
			return err
		}
	}
	return nil
}

// readSlice decodes slice i and copies its part of p. start and end are the slice's bounds relative
// to p; start is negative if the slice begins before p. A slice that lies within p is decoded in
// place, which may overwrite the bytes of p after it. So slices must be read in order.
func (s *Store) readSlice(p []byte, start, end int, id blockstore.ID, i int, stored []byte) error {
	if start >= 0 && end <= len(p) {
		return decodeSlice(p[start:], end-start, s.dec, name(id), i, stored)
	}
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	room := (*buf)[:cap(*buf)]
	if err := decodeSlice(room, end-start, s.dec, name(id), i, stored); err != nil {
		return err
	}
	slice := room[:end-start]
	if start < 0 {
		copy(p, slice[-start:])
	} else {
		copy(p[start:], slice)
	}
	return nil
}

// readError returns the damage that err means. An error that says nothing about the pack, such as
// EMFILE, is passed on.
func readError(loc location, id blockstore.ID, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) && errno != unix.EIO && errno != unix.ENOENT || errors.Is(err, iofs.ErrClosed) {
		return fmt.Errorf("block %s in pack %d at %#x: %w", id, loc.pack, loc.off, err)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the pack ends before it does")
	}
	return &blockstore.DamagedError{ID: id, Pack: loc.pack, Off: loc.off, Why: err.Error()}
}

// whole reads a record and checks all of it: header, padding, every slice, and the plain bytes
// against their name. It returns the record and its plain bytes in the given buffers.
func (s *Store) whole(record, plain *[]byte, k kind, id name, loc location) error {
	f, err := s.files.get(loc.pack)
	if err != nil {
		return err
	}
	*record = (*record)[:0]
	if int64(cap(*record)) < loc.size() {
		*record = make([]byte, 0, maxRecord)
	}
	*record = (*record)[:loc.size()]
	if n, err := f.ReadAt(*record, loc.off); n < len(*record) {
		return err
	}
	h, found, err := locate(*record)
	if err != nil {
		return err
	}
	if found.pack, found.off = loc.pack, loc.off; found != loc || h.kind != k || h.id != id {
		return errors.New("the record is not the one the index says")
	}
	return s.check(plain, k, id, *record)
}

// checkRecord does the checks of whole on a record that a scan found.
func (s *Store) checkRecord(plain *[]byte, r found) error {
	return s.check(plain, r.kind, r.id, r.bytes)
}

func (s *Store) check(plain *[]byte, k kind, id name, record []byte) (err error) {
	if *plain, err = decodeRecord(*plain, s.dec, k, id, record); err != nil {
		return err
	}
	switch k {
	case blockKind:
		if len(*plain) != blockstore.BlockSize || blockstore.IDOf(*plain) != blockstore.ID(id) {
			return errors.New("its bytes are not those of its ID")
		}
	case segmentKind:
		segment, err := blockstore.ParseSegment(*plain)
		if err != nil {
			return err
		}
		if !segment.Complete() || segment.ID() != blockstore.SegmentID(id) {
			return errors.New("the segment is not the one of its ID")
		}
	case rootKind:
		_, err = parseRoot(id, *plain)
	default:
		err = fmt.Errorf("records of kind %d are not known", k)
	}
	return err
}

// Quarantine leaves a block alone that reads correctly by now, or is gone.
func (s *Store) Quarantine(ctx context.Context, id blockstore.ID) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	loc, err := s.find(id)
	if errors.Is(err, blockstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var record, plain []byte
	err = s.whole(&record, &plain, blockKind, name(id), loc)
	if err == nil {
		return nil
	}
	if err := readError(loc, id, err); !errors.Is(err, blockstore.ErrDamaged) {
		return err
	}
	return s.setAside(id, loc)
}

// setAside removes a damaged block from the index. The caller holds the writer's lock.
func (s *Store) setAside(id blockstore.ID, loc location) error {
	err := s.change(func(b *batch) error {
		if err := b.drop(blockKind, name(id)); err != nil {
			return err
		}
		b.freed = nil // its bytes stay until a sweep, so that they can be examined
		b.index = append(b.index, op{quarantineKey(id), loc.encode()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("quarantine block %s: %w", id, err)
	}
	s.quarantine.add(id)
	return nil
}
