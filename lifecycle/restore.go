package lifecycle

import (
	"encoding/json"
	"fmt"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// Found is a disk that a rebuild of the block store found: its number, and the note that was left with it.
type Found struct {
	Disk uint64
	Size int64
	Note string
}

// Restore makes images of the disks of a store whose database was lost, in the new database, before a Registry is opened on
// it. It returns their names. A disk whose note tells nothing, or whose name is taken, is called after its number. It may
// be called again with the same disks.
func Restore(db *kv.DB, disks []Found) (names []string, err error) {
	ids, err := db.Sequence([]byte(sequenceKey))
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, d := range disks {
		for last := uint64(0); last < d.Disk; { // a number is never given again
			if last, err = ids.Next(); err != nil {
				return names, err
			}
		}
		rec := d.record()
		if checkName(rec.Name) != nil || taken[rec.Name] {
			rec.Name = fmt.Sprintf("disk-%d", d.Disk)
		}
		taken[rec.Name] = true
		if err := db.Update(rec.put); err != nil {
			return names, err
		}
		names = append(names, rec.Name)
	}
	return names, nil
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
