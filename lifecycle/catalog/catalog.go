// Package catalog keeps the records of images and volumes, in sections, in the database
// and in memory.
//
// A change is one transaction (Tx): Update runs a function that only changes records, writes them
// all or none, and then shows them in memory. What others see follows the disk and never the other
// way round. Update is the only place that holds the catalog's lock, and nothing but the database
// is waited for under it.
//
//	image.go    the record of an image and its sections
//	volume.go   the record of a volume
//	fate.go     what becomes of each section in a note, a base and a commit
//	tx.go       changes
//	shelf.go    records by number and by name
//	dropped.go  numbers that no record needs any more: only their files may be removed
//	restore.go  records of a store whose database was lost
//
// Look-ups by name and by number are maps. Records are values: a record that was returned never
// changes.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Notes keeps a copy of each volume's record beside its deltas, for a store whose database is lost.
type Notes interface {
	PutNote(volume uint64, text []byte) error
	RemoveNote(volume uint64) error
}

// Catalog is all records of one store. It is safe for concurrent use.
type Catalog struct {
	db    *kv.DB
	ids   *kv.Sequence
	notes Notes // nil: volumes have no notes

	changes sync.Mutex // held by Update; taken before mu
	closed  bool       // guarded by changes

	mu      sync.RWMutex // guards the following
	images  *shelf[Image]
	volumes *shelf[Volume]
	resting map[uint64][]uint64 // the volumes that rest on a disk of the store
}

// Open reads all records of a database. notes may be nil: then volumes have none.
func Open(ctx context.Context, db *kv.DB, notes Notes) (*Catalog, error) {
	if err := checkRestored(db); err != nil {
		return nil, err
	}
	ids, err := db.Sequence([]byte(sequenceKey))
	if err != nil {
		return nil, err
	}
	c := &Catalog{db: db, ids: ids, notes: notes, images: newShelf[Image](), volumes: newShelf[Volume](), resting: map[uint64][]uint64{}}
	return c, db.View(func(tx *kv.Tx) error {
		if err := readAll(tx, imagePrefix, c.loadImage); err != nil {
			return err
		}
		if err := readAll(tx, volumePrefix, c.loadVolume); err != nil {
			return err
		}
		return ctx.Err()
	})
}

// readAll decodes the records whose keys have a prefix.
func readAll[R interface{ key() []byte }](tx *kv.Tx, prefix string, each func(R) error) error {
	for e, err := range tx.Prefix([]byte(prefix)) {
		if err != nil {
			return err
		}
		var rec R
		if err := json.Unmarshal(e.Value, &rec); err != nil {
			return fmt.Errorf("the record at key %q (%v): %w", e.Key, err, kv.ErrDamaged)
		}
		if string(rec.key()) != string(e.Key) {
			return fmt.Errorf("the record at key %q is of key %q: %w", e.Key, rec.key(), kv.ErrDamaged)
		}
		if err := each(rec); err != nil {
			return fmt.Errorf("the record at key %q, %w: %w", e.Key, err, kv.ErrDamaged)
		}
	}
	return nil
}

func (c *Catalog) loadImage(rec Image) error {
	if !slices.Contains([]State{Queued, Active, Killed}, rec.State) {
		return fmt.Errorf("image %d %q in state %q", rec.ID, rec.Name, rec.State)
	}
	return c.images.load(rec)
}

func (c *Catalog) loadVolume(rec Volume) error {
	if len(rec.Deltas) == 0 {
		return fmt.Errorf("volume %d %q without deltas", rec.ID, rec.Name)
	}
	c.rest(rec)
	return c.volumes.load(rec)
}

// Close refuses every later Update, and waits for the one that runs.
func (c *Catalog) Close() {
	c.changes.Lock()
	defer c.changes.Unlock()
	c.closed = true
}

// Next returns a number that was never given to an image, a volume or a delta.
func (c *Catalog) Next() (uint64, error) { return c.ids.Next() }

// Image returns the image of a number.
func (c *Catalog) Image(id uint64) (Image, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	rec, ok := c.images.byID[id]
	return rec, ok
}

// ImageNamed returns the image of a name.
func (c *Catalog) ImageNamed(name string) (Image, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.images.named(name)
}

// Images returns the numbers of all images in the order of their names. The caller must not change
// the slice.
func (c *Catalog) Images() []uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.images.numbers()
}

// Volume returns the volume of a number.
func (c *Catalog) Volume(id uint64) (Volume, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	rec, ok := c.volumes.byID[id]
	return rec, ok
}

// VolumeNamed returns the volume of a name.
func (c *Catalog) VolumeNamed(name string) (Volume, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.volumes.named(name)
}

// Volumes returns the numbers of all volumes in the order of their names. The caller must not
// change the slice.
func (c *Catalog) Volumes() []uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.volumes.numbers()
}

// Known reports whether an image or a volume rests on a disk of the store.
func (c *Catalog) Known(disk uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, image := c.images.byID[disk]
	return image || len(c.resting[disk]) > 0
}

// rest enters that a volume rests on its disks, and unrest takes it back; the caller holds mu.
func (c *Catalog) rest(rec Volume) {
	for _, of := range rec.Bases() {
		c.resting[of.ID] = append(c.resting[of.ID], rec.ID)
	}
}

func (c *Catalog) unrest(rec Volume) {
	for _, of := range rec.Bases() {
		left := slices.DeleteFunc(c.resting[of.ID], func(id uint64) bool { return id == rec.ID })
		if c.resting[of.ID] = left; len(left) == 0 {
			delete(c.resting, of.ID)
		}
	}
}

// Update runs change and commits its changes: all of them, or none if change or the database
// returns an error. One Update runs at a time. change must wait for nothing: it holds up every
// other command.
func (c *Catalog) Update(change func(*Tx) error) error {
	c.changes.Lock()
	defer c.changes.Unlock()
	if c.closed {
		return command.Refuse(iofs.ErrClosed, "the store is being closed")
	}
	tx := &Tx{c: c}
	if err := change(tx); err != nil {
		return err
	}
	if len(tx.images) == 0 && len(tx.volumes) == 0 {
		return nil
	}
	if err := tx.commit(); err != nil {
		return err
	}
	tx.publish()
	return nil
}
