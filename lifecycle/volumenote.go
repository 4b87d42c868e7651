package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// Beside its deltas each volume has a note, its record as the database has it, for a store whose database is lost. It never names a
// delta that is not there: new deltas are made before it, old ones removed behind it. A note is written just before its transaction is
// committed: a kill in between leaves what the command was about to do, which reads the same, and the next Open writes it as the
// database has it.

// putVolume writes a volume's note and record, and what else is to be changed with it, on disk; the caller holds changes. old is the
// record as it was, nil for a new volume.
func (r *Registry) putVolume(old *volumeRecord, now volumeRecord, more ...func(*kv.WriteTx) error) error {
	noted := false
	if old != nil {
		more = append(more, r.dropLeft(*old, now))
	}
	err := r.write(func(tx *kv.WriteTx) error {
		for _, put := range append(more, now.put) {
			if err := put(tx); err != nil {
				return err
			}
		}
		noted = true
		return r.putNote(now)
	})
	switch {
	case err == nil || !noted:
		return err
	case old == nil:
		return errors.Join(err, r.deltas.RemoveNote(now.ID))
	}
	return errors.Join(err, r.putNote(*old))
}

func (r *Registry) putNote(rec volumeRecord) error {
	if r.cfg.Volumes == "" {
		return nil
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return r.deltas.PutNote(rec.ID, text)
}

// renewNotes makes the notes say what the database has. Where that fails the volume does not suffer.
func (r *Registry) renewNotes() error {
	for _, v := range r.Volumes() {
		want, err := json.Marshal(v.rec)
		if err != nil {
			return err
		}
		if have, err := r.deltas.Note(v.id); err == nil && bytes.Equal(have, want) {
			continue
		}
		if err := r.deltas.PutNote(v.id, want); err != nil {
			r.cfg.Log.Warn("writing a volume's note", append(volumeAttrs(v), "error", err)...)
		}
	}
	return nil
}
