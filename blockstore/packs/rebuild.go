package packs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// Rebuilt is the result of a rebuild.
type Rebuilt struct {
	Blocks int64
	Disks  []RebuiltDisk // in the order of their numbers
}

// RebuiltDisk is a disk that was complete once. The packs hold maps of such disks only.
type RebuiltDisk struct {
	Disk    uint64
	Size    int64
	Note    string
	Missing int64 // blocks that were not found; reads of them need the source
}

// Rebuild makes the index and the maps anew from the packs in dir. db must not have an index.
// Rebuild checks every record's bytes against its name and leaves out damaged ones. Blocks that no
// rebuilt disk names are garbage for the next sweep. The packs are only read, so an interrupted
// rebuild can start again with another new database. After each pack Rebuild calls progress, unless
// it is nil.
func Rebuild(ctx context.Context, dir string, db database, progress func(done, total int)) (Rebuilt, error) {
	s, err := newStore(filepath.Join(dir, "packs"), db, Options{MapCache: DefaultMapCache})
	if err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", dir, err)
	}
	r := &rebuild{s: s, ctx: ctx, roots: map[uint64]map[uint32]root{}}
	err = errors.Join(r.run(progress), s.files.close())
	if err != nil {
		return r.found, fmt.Errorf("rebuild %s: %w", dir, err)
	}
	return r.found, nil
}

type rebuild struct {
	s     *Store
	ctx   context.Context
	ops   []op
	roots map[uint64]map[uint32]root
	found Rebuilt
}

func (r *rebuild) run(progress func(done, total int)) error {
	if err := r.s.db.View(empty); err != nil {
		return err
	}
	packs, err := r.s.files.list()
	if err != nil {
		return err
	}
	for i, pack := range packs {
		if err := r.pack(pack); err != nil {
			return err
		}
		if progress != nil {
			progress(i+1, len(packs))
		}
	}
	if err := r.disks(); err != nil {
		return err
	}
	if err := r.count(); err != nil {
		return err
	}
	// The tail comes last, because a database without it counts as one without an index.
	return r.s.write(op{[]byte(tailKey), r.s.tail.encode(r.s.counts)})
}

// empty returns an error if the database already has an index.
func empty(tx *kv.Tx) error {
	v, err := find(tx, []byte(tailKey))
	if err == nil && v != nil {
		err = errors.New("the database has an index")
	}
	return err
}

// pack enters the records of one pack. Of two records of one name the later wins.
func (r *rebuild) pack(pack uint32) error {
	f, err := r.s.files.get(pack)
	if errors.Is(err, errBadHeader) {
		return nil // another pack's, or not one: none of its records can be trusted to be where they belong
	}
	if err != nil {
		return err
	}
	var plain []byte
	end, err := scan(f, pack, packHead, func(rec found) (bool, error) {
		if r.s.checkRecord(&plain, rec) != nil {
			return false, nil
		}
		return true, r.record(rec, plain)
	})
	if err != nil {
		return err
	}
	r.s.tail.pack, r.s.tail.written = pack, end
	return r.flush()
}

func (r *rebuild) record(rec found, plain []byte) error {
	r.ops = append(r.ops, op{indexKey(rec.kind, rec.id), rec.loc.encode()})
	switch rec.kind {
	case segmentKind:
		r.ops = append(r.ops, op{segmentKey(blockstore.SegmentID(rec.id)), slices.Clone(plain)})
	case rootKind:
		part, err := parseRoot(rec.id, plain)
		if err != nil {
			return err
		}
		if r.roots[part.disk] == nil {
			r.roots[part.disk] = map[uint32]root{}
		}
		r.roots[part.disk][part.part] = part
	}
	if len(r.ops) >= maxOps {
		return r.flush()
	}
	return r.ctx.Err()
}

func (r *rebuild) flush() error {
	err := r.s.write(r.ops...)
	r.ops = r.ops[:0]
	return err
}

// disks makes the disks whose root records are all there.
func (r *rebuild) disks() error {
	for disk, parts := range r.roots {
		first := parts[0]
		var ids []blockstore.SegmentID
		for part := range rootParts(first.size) {
			if parts[part].size == first.size {
				ids = append(ids, parts[part].segments...)
			}
		}
		if int64(len(ids)) != blockstore.Segments(first.size) || len(ids) == 0 {
			continue
		}
		if err := r.disk(disk, first, ids); err != nil {
			return err
		}
	}
	slices.SortFunc(r.found.Disks, func(a, b RebuiltDisk) int { return cmp.Compare(a.Disk, b.Disk) })
	return nil
}

func (r *rebuild) disk(disk uint64, first root, ids []blockstore.SegmentID) error {
	var n count
	var groups [][]op
	var lost []op
	blocks := blockstore.Blocks(first.size)
	err := r.s.db.View(func(tx *kv.Tx) error {
		for seg, id := range ids {
			segment, err := readShared(tx, id)
			if err != nil {
				continue // it was not found: absent
			}
			m := mapped{shared: id}
			_, m.data = segment.Count()
			n.loaded += int64(len(segment))
			n.data += m.data
			groups = append(groups, []op{{place{disk, int64(seg)}.key(mapPrefix), m.encode()}})
			ops, err := r.lost(tx, segment)
			if err != nil {
				return err
			}
			lost = append(lost, ops...)
		}
		return r.ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := r.s.write(lost...); err != nil {
		return err
	}
	groups = append(groups, []op{{diskKey(countPrefix, disk), n.encode()}})
	missing := blocks - n.loaded + int64(len(lost))
	r.found.Disks = append(r.found.Disks, RebuiltDisk{disk, first.size, first.note, missing})
	return r.s.makeDisk(disk, diskRecord{Size: first.size, Note: first.note}, groups...)
}

// lost returns the changes that quarantine a segment's missing blocks. Maps then report them lost.
func (r *rebuild) lost(tx *kv.Tx, segment blockstore.Segment) (ops []op, err error) {
	for _, e := range segment {
		if e.State != blockstore.Data {
			continue
		}
		_, ok, err := lookUp(tx, blockKind, name(e.ID))
		if err != nil {
			return nil, err
		}
		if !ok {
			ops = append(ops, op{quarantineKey(e.ID), location{}.encode()})
		}
	}
	return ops, nil
}

// count sets the counts from the index. Records that were found twice have one entry there.
func (r *rebuild) count() error {
	r.s.counts = counts{}
	err := r.s.eachIndexed(func(e indexed) { r.s.counts.add(e.kind, e.loc, 1) })
	r.found.Blocks = r.s.counts.blocks
	return err
}
