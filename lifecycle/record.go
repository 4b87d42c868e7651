package lifecycle

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
)

// Keys of the database: an image's is the prefix and its ID, eight bytes, most significant first.
const (
	imagePrefix = "image/"
	sequenceKey = "sequence/image"
)

// State is where an image is in its life; the package comment tells what each means.
type State string

// Saving and Deleted are never on disk: a registration that was cut off is Queued again.
const (
	Queued  State = "queued"
	Saving  State = "saving"
	Active  State = "active"
	Killed  State = "killed"
	Deleted State = "deleted"
	Damaged State = "error" // of a volume that can only be read
)

// LoadMode says how an image's blocks come into the block store.
type LoadMode string

// Lazy is what an image without a word about it is, one of an older imsfs, too.
const (
	Lazy LoadMode = "lazy" // those that were read
	Full LoadMode = "full" // all, from the registration on
	None LoadMode = "none" // none: it is read through
)

var loadModes = []LoadMode{Lazy, Full, None}

// stored tells whether the image has a disk in the block store.
func (rec record) stored() bool { return rec.Load != None }

// record is all that is known of an image, as the database has it.
type record struct {
	ID         uint64            `json:"id"`
	Name       string            `json:"name"`
	State      State             `json:"state"`
	Source     string            `json:"source"`           // an absolute path
	Format     string            `json:"format,omitempty"` // as asked for, then as found
	Snapshot   string            `json:"snapshot,omitempty"`
	Backing    string            `json:"backing,omitempty"` // an absolute path, in place of the name in the image
	Registered time.Time         `json:"registered"`
	Meta       map[string]string `json:"meta,omitempty"` // never changed, only replaced: copies of the record share it

	// Known once it is active.
	Identity    source.Identity `json:"identity"`
	Beside      []chain.File    `json:"beside,omitempty"` // the other files that it is read from: backing images, extents
	Size        int64           `json:"size,omitempty"`
	Allocated   int64           `json:"allocated,omitempty"`
	ClusterSize int64           `json:"cluster_size,omitempty"`
	Compression string          `json:"compression,omitempty"`
	Indexed     bool            `json:"indexed,omitempty"` // it wants an index
	Map         string          `json:"map,omitempty"`     // the map beside a raw source, or why it was not used when it was registered

	// What of it is to be in the block store.
	Load      LoadMode `json:"load,omitempty"`
	Hydrating bool     `json:"hydrating,omitempty"` // all of it, and that is being loaded, also by the next daemon
	Kept      bool     `json:"kept,omitempty"`      // all of it, and it was loaded: it never leaves by itself
	Committed bool     `json:"committed,omitempty"` // what is there is a volume's, and only what is absent is the source's; it never leaves

	SourceSize int64 `json:"source_size,omitempty"` // of the disk that the source has, if it is not Size: a volume was resized

	Error string `json:"error,omitempty"` // why it was killed
}

func (rec record) key() []byte {
	return binary.BigEndian.AppendUint64([]byte(imagePrefix), rec.ID)
}

func (rec record) put(tx *kv.WriteTx) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return errors.Join(tx.Set(rec.key(), b), tx.Delete(droppedKey(rec.ID)))
}

func (rec record) erase(tx *kv.WriteTx) error { return tx.Delete(rec.key()) }

// readRecords returns the records of all images.
func readRecords(ctx context.Context, db *kv.DB) ([]record, error) {
	var records []record
	err := db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(imagePrefix)) {
			if err != nil {
				return err
			}
			rec, err := decodeRecord(e)
			if err != nil {
				return err
			}
			records = append(records, rec)
		}
		return ctx.Err()
	})
	return records, err
}

func decodeRecord(e kv.Entry) (record, error) {
	var rec record
	if err := json.Unmarshal(e.Value, &rec); err != nil {
		return record{}, fmt.Errorf("the record at key %q (%v): %w", e.Key, err, kv.ErrDamaged)
	}
	if string(rec.key()) != string(e.Key) || rec.Name == "" || !slices.Contains([]State{Queued, Active, Killed}, rec.State) {
		return record{}, fmt.Errorf("the record at key %q, of image %d %q in state %q: %w", e.Key, rec.ID, rec.Name, rec.State, kv.ErrDamaged)
	}
	return rec, nil
}
