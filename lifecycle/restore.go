package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// Found is a disk that a rebuild of the block store found: its number, and the note that was left with it.
type Found struct {
	Disk uint64
	Size int64
	Note string
}

// Restored is what came back into a database that was lost.
type Restored struct {
	Images  []string
	Volumes []string
	Lacking []string // those of the volumes that can only be read, for want of what they rested on
	Aside   string   // where what was written to volumes is that did not come back, "" if there is nothing
}

// restoringKey is in a database from its beginning until all that comes back is in it.
const restoringKey = "restoring"

// BeginRestore marks a new database as one that lacks what Restore is to put there: no Registry opens on it.
func BeginRestore(tx *kv.WriteTx) error { return tx.Set([]byte(restoringKey), nil) }

// whole refuses a database whose restoring was cut off.
func whole(db *kv.DB) error {
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

// restoring is a Restore at work.
type restoring struct {
	db    *kv.DB
	ids   *kv.Sequence
	last  uint64 // number that the sequence gave
	disks map[uint64]Found
	back  Restored
}

// Restore makes images of the disks of a store whose database was lost, and volumes of what is in their directory, in the new
// database, before a Registry is opened on it. An image whose note tells nothing, or whose name is taken, is called after its number.
// It may be called again with the same disks.
func Restore(db *kv.DB, disks []Found, volumes string) (Restored, error) {
	ids, err := db.Sequence([]byte(sequenceKey))
	if err != nil {
		return Restored{}, err
	}
	r := &restoring{db: db, ids: ids, disks: map[uint64]Found{}}
	if err := r.images(disks); err != nil {
		return r.back, err
	}
	if err := r.volumes(volumes); err != nil {
		return r.back, err
	}
	return r.back, db.Update(func(tx *kv.WriteTx) error { return tx.Delete([]byte(restoringKey)) })
}

// pass makes the sequence give only numbers behind n: none is ever given again.
func (r *restoring) pass(n uint64) (err error) {
	for err == nil && r.last < n {
		r.last, err = r.ids.Next()
	}
	return err
}

func (r *restoring) images(disks []Found) error {
	taken := map[string]bool{}
	for _, d := range disks {
		r.disks[d.Disk] = d
		if err := r.pass(d.Disk); err != nil {
			return err
		}
		rec := d.record()
		if checkName(rec.Name) != nil || taken[rec.Name] {
			rec.Name = fmt.Sprintf("disk-%d", d.Disk)
		}
		taken[rec.Name] = true
		if err := r.db.Update(rec.put); err != nil {
			return err
		}
		r.back.Images = append(r.back.Images, rec.Name)
	}
	return nil
}

// record makes an active image of what was found. All of it was complete, so it is kept: its source may be gone.
func (d Found) record() record {
	var rec record
	if err := json.Unmarshal([]byte(d.Note), &rec); err != nil {
		rec = record{}
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
