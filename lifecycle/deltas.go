package lifecycle

import (
	"bytes"
	"encoding/json"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// Beside its deltas each volume has a note: a copy of its record, so that the volume can be rebuilt
// if the database is lost. A note never names a delta that does not exist: new deltas are made before
// it, old ones removed after it.

// tidyDeltas renews the volumes' notes, and then removes the deltas that no volume has.
func (r *Registry) tidyDeltas() error {
	if r.cfg.Volumes == "" {
		return nil
	}
	if err := r.renewNotes(); err != nil {
		return err
	}
	known := map[uint64]bool{}
	for _, v := range r.Volumes() {
		for _, n := range v.record().Deltas {
			known[n] = true
		}
	}
	there, err := r.deltas.List()
	if err != nil {
		return err
	}
	for _, n := range there {
		if known[n] {
			continue
		}
		if err := r.deltas.Remove(n); err != nil {
			return err
		}
	}
	return nil
}

// renewNotes makes the notes equal to the records. A failure to write one does the volume no harm.
func (r *Registry) renewNotes() error {
	there, err := r.deltas.Notes()
	if err != nil {
		return err
	}
	for _, n := range there {
		if _, ok := r.catalog.Volume(n); ok {
			continue
		}
		if err := r.deltas.RemoveNote(n); err != nil {
			return err
		}
	}
	for _, v := range r.Volumes() {
		want, err := json.Marshal(v.record())
		if err != nil {
			return err
		}
		if have, err := r.deltas.Note(v.id); err == nil && bytes.Equal(have, want) {
			continue
		}
		if err := r.deltas.PutNote(v.id, want); err != nil {
			r.cfg.Log.Warn("writing a volume's note", append(v.attrs(), "error", command.Sentence(err))...)
		}
	}
	return nil
}
