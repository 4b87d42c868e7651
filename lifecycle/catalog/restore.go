package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Found is a disk that a rebuild of the block store found: its number, and the note left with it.
type Found struct {
	Disk uint64
	Size int64
	Note string
}

// Restored lists the records that came back into a lost database.
type Restored struct {
	Images  []string
	Volumes []string
	Lacking []string // the volumes that can only be read, because their base is lost
	Aside   string   // the directory of the deltas that belong to no volume, "" if there are none
}

// restoringKey is in a database from its beginning until all that comes back is in it.
const restoringKey = "restoring"

// BeginRestore marks a new database as one that lacks what Restore is to put there: Open refuses
// it.
func BeginRestore(tx *kv.WriteTx) error { return tx.Set([]byte(restoringKey), nil) }

// checkRestored refuses a database whose restoring was cut off.
func checkRestored(db *kv.DB) error {
	return db.View(func(tx *kv.Tx) error {
		_, err := tx.Get([]byte(restoringKey))
		switch {
		case errors.Is(err, iofs.ErrNotExist):
			return nil
		case err == nil:
			return fmt.Errorf("the rebuild of the store's database was cut off: run it again: %w", kv.ErrDamaged)
		}
		return err
	})
}

// restorer is a Restore at work.
type restorer struct {
	db    *kv.DB
	ids   *kv.Sequence
	last  uint64 // number that the sequence gave
	disks map[uint64]Found
	back  Restored
}

// Restore makes images of the disks of a store whose database was lost, and volumes of the notes
// and deltas in a directory ("" none), in the new database, before a Catalog is opened on it. An
// image whose note is empty, or whose name is taken, is named after its number. It may be called
// again with the same disks.
func Restore(db *kv.DB, disks []Found, volumes string) (Restored, error) {
	ids, err := db.Sequence([]byte(sequenceKey))
	if err != nil {
		return Restored{}, err
	}
	r := &restorer{db: db, ids: ids, disks: map[uint64]Found{}}
	if err := r.restoreImages(disks); err != nil {
		return r.back, err
	}
	if err := r.restoreVolumes(volumes); err != nil {
		return r.back, err
	}
	return r.back, db.Update(func(tx *kv.WriteTx) error { return tx.Delete([]byte(restoringKey)) })
}

// skipTo makes the sequence give only numbers after n.
func (r *restorer) skipTo(n uint64) (err error) {
	for err == nil && r.last < n {
		r.last, err = r.ids.Next()
	}
	return err
}

func (r *restorer) restoreImages(disks []Found) error {
	taken := map[string]bool{}
	for _, d := range disks {
		r.disks[d.Disk] = d
		if err := r.skipTo(d.Disk); err != nil {
			return err
		}
		rec := d.image()
		if command.Name().Check(rec.Name) != nil || taken[rec.Name] {
			rec.Name = fmt.Sprintf("disk-%d", d.Disk)
		}
		taken[rec.Name] = true
		if err := r.put(change[Image]{nil, &rec}); err != nil {
			return err
		}
		r.back.Images = append(r.back.Images, rec.Name)
	}
	return nil
}

func (r *restorer) put(ch change[Image]) error {
	return r.db.Update(func(tx *kv.WriteTx) error { return write(tx, ch) })
}

// image makes an active image of a disk. All of it was complete, so it is kept: its source may be
// gone.
func (d Found) image() Image {
	var rec Image
	if err := json.Unmarshal([]byte(d.Note), &rec); err != nil {
		rec = Image{}
	}
	rec.ID, rec.Size, rec.State, rec.Kept, rec.Hydrating = d.Disk, d.Size, Active, true, false
	if rec.Load == "" || rec.Load == None {
		rec.Load = Lazy
	}
	if rec.ClusterSize <= 0 {
		rec.ClusterSize = 1
		rec.Compression = ""
	}
	return rec
}

// restoreVolumes brings back the volumes whose notes are in a directory and whose deltas are all
// there. The other files are set aside.
func (r *restorer) restoreVolumes(path string) error {
	if path == "" {
		return nil
	}
	deltas, err := overlay.OpenDir(path)
	if err != nil {
		return err
	}
	notes, err := deltas.Notes()
	if err != nil {
		return err
	}
	claimed, taken := map[uint64]bool{}, map[string]bool{}
	for _, n := range notes {
		rec, ok := readNote(deltas, n, claimed)
		if !ok {
			continue
		}
		rec.Name = unlike(rec.Name, n, taken)
		taken[rec.Name] = true
		for _, n := range append(rec.Deltas, n) {
			claimed[n] = true
		}
		if err := r.restoreVolume(rec); err != nil {
			return err
		}
	}
	r.back.Aside, err = deltas.SetAside(func(n uint64) bool { return claimed[n] })
	return err
}

// readNote returns the record in a volume's note. It reports false if that is not one, or if a
// delta is missing or another volume's.
func readNote(deltas overlay.Dir, n uint64, claimed map[uint64]bool) (rec Volume, ok bool) {
	text, err := deltas.Note(n)
	if err != nil || json.Unmarshal(text, &rec) != nil {
		return rec, false
	}
	if rec.ID != n || rec.Size <= 0 || rec.Size > blockstore.MaxDiskSize || len(rec.Deltas) == 0 {
		return rec, false
	}
	for _, delta := range rec.Deltas {
		files, err := deltas.Open(delta)
		if err != nil || files.Close() != nil || claimed[delta] {
			return rec, false
		}
	}
	return rec, true
}

// unlike returns the wanted name if it may be one and is not taken, else one that is like it.
func unlike(name string, id uint64, taken map[string]bool) string {
	for command.Name().Check(name) != nil || taken[name] {
		if name = fmt.Sprintf("%s-%d", name, id); command.Name().Check(name) != nil {
			name = fmt.Sprintf("volume-%d", id)
		}
	}
	return name
}

// restoreVolume writes a volume's record. A base that was not found is loaded again from its
// source, unless it was committed: then its blocks are lost.
func (r *restorer) restoreVolume(rec Volume) error {
	numbers := append([]uint64{rec.ID}, rec.Deltas...)
	for _, of := range rec.Bases() {
		numbers = append(numbers, of.ID)
	}
	for _, n := range numbers {
		if err := r.skipTo(n); err != nil {
			return err
		}
	}
	if err := r.db.Update(func(tx *kv.WriteTx) error { return write(tx, change[Volume]{nil, &rec}) }); err != nil {
		return err
	}
	r.back.Volumes = append(r.back.Volumes, rec.Name)
	if rec.Base == nil || !rec.Base.Committed {
		return nil
	}
	if _, found := r.disks[rec.Base.ID]; !found {
		r.back.Lacking = append(r.back.Lacking, rec.Name)
	}
	return nil
}
