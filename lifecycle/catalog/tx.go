package catalog

import (
	"encoding/json"
	"errors"
	iofs "io/fs"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Tx is one change of the catalog. Each record is changed at most once in it.
type Tx struct {
	c       *Catalog
	images  []change[Image]
	volumes []change[Volume]
}

// change is one record's.
type change[R record] struct {
	old, new *R // nil: there was, or is to be, none
}

// Image returns the image of a number as it is now, or iofs.ErrClosed: it was deleted.
func (tx *Tx) Image(id uint64) (Image, error) {
	if rec, ok := tx.c.Image(id); ok {
		return rec, nil
	}
	return Image{}, command.Refuse(iofs.ErrClosed, "the image was deleted")
}

// Volume returns the volume of a number as it is now, or iofs.ErrClosed: it was deleted.
func (tx *Tx) Volume(id uint64) (Volume, error) {
	if rec, ok := tx.c.Volume(id); ok {
		return rec, nil
	}
	return Volume{}, command.Refuse(iofs.ErrClosed, "the volume was deleted")
}

// AddImage adds an image. ErrExist: its name is taken.
func (tx *Tx) AddImage(rec Image) error {
	if err := tx.c.ImageNameFree(rec.Name); err != nil {
		return err
	}
	tx.images = append(tx.images, change[Image]{nil, &rec})
	return nil
}

// ChangeImage changes an image's record. An error of to refuses the transaction.
func (tx *Tx) ChangeImage(id uint64, to func(*Image) error) error {
	old, err := tx.Image(id)
	if err != nil {
		return err
	}
	rec := old
	if err := to(&rec); err != nil {
		return err
	}
	if rec.Name != old.Name {
		if err := tx.c.ImageNameFree(rec.Name); err != nil {
			return err
		}
	}
	tx.images = append(tx.images, change[Image]{&old, &rec})
	return nil
}

// RemoveImage removes an image. The volumes that rest on its disk learn what its record says of
// what the store keeps.
func (tx *Tx) RemoveImage(id uint64) error {
	old, err := tx.Image(id)
	if err != nil {
		return err
	}
	tx.images = append(tx.images, change[Image]{&old, nil})
	for _, v := range tx.c.restingOn(id) {
		if err := tx.ChangeVolume(v, func(rec *Volume) error {
			rec.Base = told(rec.Base, old)
			rec.Origin = told(rec.Origin, old)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// ChangeSource replaces what is known of the source of a disk, for the image and for the volumes that
// rest on it.
func (tx *Tx) ChangeSource(id uint64, to Source) error {
	for _, v := range tx.c.restingOn(id) {
		if err := tx.ChangeVolume(v, func(rec *Volume) error {
			for _, of := range []**Base{&rec.Base, &rec.Origin} {
				if *of != nil && (*of).ID == id {
					now := **of
					now.Source = to
					*of = &now
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return tx.ChangeImage(id, func(rec *Image) error { rec.Source = to; return nil })
}

// told returns a base with what an image's record says of its disk now, if it is that image's.
func told(of *Base, img Image) *Base {
	if of == nil || of.ID != img.ID {
		return of
	}
	now := img.Base()
	return &now
}

func (c *Catalog) restingOn(disk uint64) []uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var volumes []uint64
	seen := map[uint64]bool{} // a volume may rest on a disk twice
	for _, v := range c.resting[disk] {
		if !seen[v] {
			seen[v] = true
			volumes = append(volumes, v)
		}
	}
	return volumes
}

// AddVolume adds a volume. ErrExist: its name is taken.
func (tx *Tx) AddVolume(rec Volume) error {
	if err := tx.c.VolumeNameFree(rec.Name); err != nil {
		return err
	}
	tx.volumes = append(tx.volumes, change[Volume]{nil, &rec})
	return nil
}

// ChangeVolume changes a volume's record. An error of to refuses the transaction.
func (tx *Tx) ChangeVolume(id uint64, to func(*Volume) error) error {
	old, err := tx.Volume(id)
	if err != nil {
		return err
	}
	rec := old
	if err := to(&rec); err != nil {
		return err
	}
	if rec.Name != old.Name {
		if err := tx.c.VolumeNameFree(rec.Name); err != nil {
			return err
		}
	}
	tx.volumes = append(tx.volumes, change[Volume]{&old, &rec})
	return nil
}

// RemoveVolume removes a volume.
func (tx *Tx) RemoveVolume(id uint64) error {
	old, err := tx.Volume(id)
	if err != nil {
		return err
	}
	tx.volumes = append(tx.volumes, change[Volume]{&old, nil})
	return nil
}

// ImageNameFree returns ErrExist if an image has the name.
func (c *Catalog) ImageNameFree(name string) error {
	if other, ok := c.ImageNamed(name); ok {
		return command.Refuse(iofs.ErrExist, "the name %q is taken by image %d", name, other.ID)
	}
	return nil
}

// VolumeNameFree returns ErrExist if a volume has the name.
func (c *Catalog) VolumeNameFree(name string) error {
	if other, ok := c.VolumeNamed(name); ok {
		return command.Refuse(iofs.ErrExist, "the name %q is taken by volume %d", name, other.ID)
	}
	return nil
}

// commit writes the changes to the database. A volume's note is written just before the commit: a
// kill in between leaves a note of the coming state, which names only deltas that exist; Open's
// caller renews it.
func (tx *Tx) commit() error {
	leaving := tx.leaving()
	noted := 0 // in any run: the database runs the function again after a conflict
	err := tx.c.db.Update(func(db *kv.WriteTx) error {
		for _, ch := range tx.images {
			if err := write(db, ch); err != nil {
				return err
			}
		}
		for _, ch := range tx.volumes {
			if err := write(db, ch); err != nil {
				return err
			}
		}
		if err := drop(db, leaving); err != nil {
			return err
		}
		for n, ch := range tx.volumes {
			noted = max(noted, n+1)
			if err := tx.c.putNote(ch.new); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	for _, ch := range tx.volumes[:noted] {
		switch {
		case tx.c.notes == nil || ch.new == nil:
		case ch.old == nil:
			err = errors.Join(err, tx.c.notes.RemoveNote((*ch.new).ID))
		default:
			err = errors.Join(err, tx.c.putNote(ch.old))
		}
	}
	return err
}

func write[R record](db *kv.WriteTx, ch change[R]) error {
	if ch.new == nil {
		return db.Delete((*ch.old).key())
	}
	if ch.old == nil { // the end of Provisional
		if err := db.Delete(droppedKey((*ch.new).number())); err != nil {
			return err
		}
	}
	text, err := json.Marshal(*ch.new)
	if err != nil {
		return err
	}
	return db.Set((*ch.new).key(), text)
}

// putNote writes a volume's note. That of a volume that goes is removed by its owner, after the
// transaction.
func (c *Catalog) putNote(rec *Volume) error {
	if c.notes == nil || rec == nil {
		return nil
	}
	text, err := json.Marshal(*rec)
	if err != nil {
		return err
	}
	return c.notes.PutNote(rec.ID, text)
}

// publish shows the changes in memory.
func (tx *Tx) publish() {
	c := tx.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range tx.images {
		if ch.new == nil {
			c.images.remove((*ch.old).ID)
			continue
		}
		c.images.put(*ch.new)
	}
	for _, ch := range tx.volumes {
		if ch.old != nil {
			c.unrest(*ch.old)
		}
		if ch.new == nil {
			c.volumes.remove((*ch.old).ID)
			continue
		}
		c.volumes.put(*ch.new)
		c.rest(*ch.new)
	}
}
