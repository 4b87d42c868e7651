package lifecycle

import (
	"bytes"
	"encoding/json"
	"log/slog"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// A start removes files that a kill kept from being removed, and only those that a transaction
// dropped. A file of a lost record is set aside or left where it is, and the log says so.
//
// Beside its deltas each volume has a note: a copy of its record, so that the volume can be rebuilt
// if the database is lost. A note never names a delta that does not exist: new deltas are made
// before it, old ones removed after it.

// removeDropped removes the files and disks that were dropped.
func (r *Registry) removeDropped() error {
	dropped, err := r.catalog.Dropped()
	if err != nil {
		return err
	}
	needed := r.catalog.Needed()
	if err := r.tidyDeltas(needed, dropped); err != nil {
		return err
	}
	if err := r.tidyDisks(needed, dropped); err != nil {
		return err
	}
	return r.catalog.ForgetDropped(dropped)
}

// tidyDeltas renews the volumes' notes and removes deltas and notes that were dropped.
func (r *Registry) tidyDeltas(needed, dropped map[uint64]bool) error {
	if r.cfg.Volumes == "" {
		return nil
	}
	deltas, err := r.deltas.List()
	if err != nil {
		return err
	}
	for _, n := range deltas {
		// A command that a kill cut off leaves a delta that was never written to.
		if needed[n] || !dropped[n] && !r.deltas.Untouched(n) {
			continue
		}
		if err := r.deltas.Remove(n); err != nil {
			return err
		}
	}
	if err := r.renewNotes(dropped); err != nil {
		return err
	}
	aside, err := r.deltas.SetAside(func(n uint64) bool { return needed[n] })
	if aside != "" {
		r.cfg.Log.Error("files of volumes that no record names were set aside", slog.String("directory", aside))
	}
	return err
}

// renewNotes makes the notes equal to the records. A failure to write one does the volume no harm.
func (r *Registry) renewNotes(dropped map[uint64]bool) error {
	there, err := r.deltas.Notes()
	if err != nil {
		return err
	}
	for _, n := range there {
		if !dropped[n] {
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

// tidyDisks deletes the disks and indexes that were dropped.
func (r *Registry) tidyDisks(needed, dropped map[uint64]bool) error {
	if err := r.pool.Indexes().Sweep(func(id uint64) bool { return !dropped[id] }); err != nil {
		return err
	}
	if r.cfg.Store == nil {
		return nil
	}
	disks, err := r.cfg.Store.Disks()
	if err != nil {
		return err
	}
	for _, disk := range disks {
		switch {
		case dropped[disk]:
			err = r.cfg.Store.Delete(disk)
		case !needed[disk]:
			r.cfg.Log.Error("a disk of the store that no record names is kept", slog.Uint64("disk", disk))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
