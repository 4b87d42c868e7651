package lifecycle

import (
	"encoding/json"
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lazyload/overlay"
)

// volumes brings back the volumes whose notes are in the directory and whose deltas are all there. What is left is set aside: a Registry
// would remove it.
func (r *restoring) volumes(path string) error {
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
		if err := r.volume(rec); err != nil {
			return err
		}
	}
	r.back.Aside, err = deltas.SetAside(func(n uint64) bool { return claimed[n] })
	return err
}

// readNote returns the record in a volume's note, if it is one and all of its deltas are there and nobody else's.
func readNote(deltas overlay.Dir, n uint64, claimed map[uint64]bool) (rec volumeRecord, ok bool) {
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

// unlike returns a name that can be one and is not taken: the one that is wanted, if it may be.
func unlike(name string, id uint64, taken map[string]bool) string {
	for checkName(name) != nil || taken[name] {
		if name = fmt.Sprintf("%s-%d", name, id); checkName(name) != nil {
			name = fmt.Sprintf("volume-%d", id)
		}
	}
	return name
}

// volume enters a volume's record. A disk that it rests on and that was not found is loaded again from its source, unless what was committed
// is lost with it.
func (r *restoring) volume(rec volumeRecord) error {
	numbers := append(rec.Deltas, rec.ID)
	for _, of := range rec.rests() {
		numbers = append(numbers, of.ID)
	}
	for _, n := range numbers {
		if err := r.pass(n); err != nil {
			return err
		}
	}
	if err := r.db.Update(rec.put); err != nil {
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
