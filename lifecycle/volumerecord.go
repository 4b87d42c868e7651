package lifecycle

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// volumePrefix and the volume's ID, eight bytes, most significant first, are the key of its record.
const volumePrefix = "volume/"

// volumeRecord is all that is known of a volume, as the database has it. Volumes and their deltas have numbers of the images'
// sequence, so that none of them ever has another's.
type volumeRecord struct {
	ID      uint64            `json:"id"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Size    int64             `json:"size"`              // what a resize that was cut off is to end at
	From    string            `json:"from,omitempty"`    // what the image was called that it was cloned from
	Base    *record           `json:"base,omitempty"`    // that image, whose number is the disk's; nil: it began empty
	Snapped bool              `json:"snapped,omitempty"` // the base is a snapshot's image, and a revert goes back to Origin
	Origin  *record           `json:"origin,omitempty"`  // the base before the first snapshot; nil: it began empty
	Deltas  []uint64          `json:"deltas"`            // the one that takes writes in front
	Shared  bool              `json:"shared,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"` // never changed, only replaced
}

func (rec volumeRecord) key() []byte {
	return binary.BigEndian.AppendUint64([]byte(volumePrefix), rec.ID)
}

func (rec volumeRecord) put(tx *kv.WriteTx) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return tx.Set(rec.key(), b)
}

func (rec volumeRecord) erase(tx *kv.WriteTx) error { return tx.Delete(rec.key()) }

// rests lists the records of the disks in the store that a volume needs.
func (rec volumeRecord) rests() (of []record) {
	for _, one := range []*record{rec.Origin, rec.Base} {
		if one != nil {
			of = append(of, *one)
		}
	}
	return of
}

// base is an image's record as a volume keeps it that rests on the image's disk. While there is the image, what its own record says
// of the disk counts.
func (rec record) base() *record {
	rec.Hydrating = false
	return &rec
}

// loadVolumes reads the records of all volumes.
func (r *Registry) loadVolumes(ctx context.Context) error {
	return r.db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(volumePrefix)) {
			if err != nil {
				return err
			}
			var rec volumeRecord
			if err := json.Unmarshal(e.Value, &rec); err != nil {
				return fmt.Errorf("the record at key %q (%v): %w", e.Key, err, kv.ErrDamaged)
			}
			_, taken := r.volumes[rec.Name]
			if string(rec.key()) != string(e.Key) || rec.Name == "" || len(rec.Deltas) == 0 || taken {
				return fmt.Errorf("the record at key %q, of volume %d %q with %d deltas: %w", e.Key, rec.ID, rec.Name, len(rec.Deltas), kv.ErrDamaged)
			}
			r.volumes[rec.Name] = newVolume(r, rec)
		}
		return ctx.Err()
	})
}
