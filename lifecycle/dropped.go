package lifecycle

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// A start removes only what the database says was dropped. The transaction that takes a number out of the records
// enters it under droppedPrefix: the number of an image, a volume or a delta. A file or disk whose number is in no
// record and not dropped belongs to a record that was lost, so it is set aside or left alone.
const droppedPrefix = "dropped/"

func droppedKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(droppedPrefix), n)
}

// drop enters numbers that no record needs from this transaction on.
func drop(tx *kv.WriteTx, numbers ...uint64) error {
	for _, n := range numbers {
		if err := tx.Set(droppedKey(n), nil); err != nil {
			return err
		}
	}
	return nil
}

// dropLeft drops what a record names and now does not, unless another record needs it. now is the zero value for a
// record that is erased. The caller holds changes.
func (r *Registry) dropLeft(old, now volumeRecord) func(*kv.WriteTx) error {
	needed := r.needed(old.ID)
	for _, n := range now.numbers() {
		needed[n] = true
	}
	return r.dropLoose(needed, old.numbers())
}

// dropImage drops an image's number, unless a volume rests on its disk. The caller holds changes.
func (r *Registry) dropImage(id uint64) func(*kv.WriteTx) error {
	return r.dropLoose(r.needed(id), []uint64{id})
}

// provisional drops a number beforehand: a disk is made under it, and its record comes last.
func (r *Registry) provisional(id uint64) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.write(func(tx *kv.WriteTx) error { return drop(tx, id) })
}

func (r *Registry) dropLoose(needed map[uint64]bool, numbers []uint64) func(*kv.WriteTx) error {
	loose := slices.DeleteFunc(numbers, func(n uint64) bool { return needed[n] })
	return func(tx *kv.WriteTx) error { return drop(tx, loose...) }
}

// numbers lists all that a volume's record names.
func (rec volumeRecord) numbers() []uint64 {
	numbers := append([]uint64{rec.ID}, rec.Deltas...)
	for _, of := range rec.rests() {
		numbers = append(numbers, of.ID)
	}
	return numbers
}

// readDropped returns the numbers that were dropped and whose files may still be there.
func (r *Registry) readDropped() (map[uint64]bool, error) {
	dropped := map[uint64]bool{}
	err := r.db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(droppedPrefix)) {
			if err != nil {
				return err
			}
			if len(e.Key) != len(droppedPrefix)+8 {
				return fmt.Errorf("the record at key %q: %w", e.Key, kv.ErrDamaged)
			}
			dropped[binary.BigEndian.Uint64(e.Key[len(droppedPrefix):])] = true
		}
		return nil
	})
	return dropped, err
}

// forgetDropped ends that numbers are kept as dropped: nothing of theirs is left.
func (r *Registry) forgetDropped(dropped map[uint64]bool) error {
	for part := range slices.Chunk(sortedNumbers(dropped), 1000) {
		err := r.db.Update(func(tx *kv.WriteTx) error {
			for _, n := range part {
				if err := tx.Delete(droppedKey(n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func sortedNumbers(set map[uint64]bool) (numbers []uint64) {
	for n := range set {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// needed returns the numbers that records name, but for the image or volume without.
func (r *Registry) needed(without uint64) map[uint64]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	needed := map[uint64]bool{}
	for _, img := range r.images {
		if img.id != without {
			needed[img.id] = true
		}
	}
	for _, v := range r.volumes {
		if v.id == without {
			continue
		}
		for _, n := range v.rec.numbers() {
			needed[n] = true
		}
	}
	return needed
}

// dropStrays removes what a kill kept from being removed, and sets aside what belongs to a record that was lost.
func (r *Registry) dropStrays() error {
	dropped, err := r.readDropped()
	if err != nil {
		return err
	}
	needed := r.needed(0)
	gone := func(n uint64) bool { return dropped[n] && !needed[n] }
	if err := r.tidyDeltas(needed, gone); err != nil {
		return err
	}
	if err := r.tidyDisks(needed, gone); err != nil {
		return err
	}
	return r.forgetDropped(dropped)
}

// tidyDeltas looks after the directory of deltas and notes.
func (r *Registry) tidyDeltas(needed map[uint64]bool, gone func(uint64) bool) error {
	if r.cfg.Volumes == "" {
		return nil
	}
	deltas, err := r.deltas.List()
	if err != nil {
		return err
	}
	notes, err := r.deltas.Notes()
	if err != nil {
		return err
	}
	for _, n := range deltas {
		if needed[n] {
			continue
		}
		// A command that a kill cut off leaves a delta that nothing was written to.
		if gone(n) || r.deltas.Untouched(n) {
			err = r.deltas.Remove(n)
		}
		if err != nil {
			return err
		}
	}
	for _, n := range notes {
		if gone(n) {
			if err := r.deltas.RemoveNote(n); err != nil {
				return err
			}
		}
	}
	aside, err := r.deltas.SetAside(func(n uint64) bool { return needed[n] })
	if aside != "" {
		r.cfg.Log.Error("files of volumes that no record names were set aside", slog.String("directory", aside))
	}
	return err
}

// tidyDisks deletes the disks and indexes of images and volumes that a kill did not let be deleted.
func (r *Registry) tidyDisks(needed map[uint64]bool, gone func(uint64) bool) error {
	if r.cfg.Indexes != nil {
		if err := r.cfg.Indexes.Sweep(func(id uint64) bool { return !gone(id) }); err != nil {
			return err
		}
	}
	if r.cfg.Store == nil {
		return nil
	}
	disks, err := r.cfg.Store.Disks()
	if err != nil {
		return err
	}
	for _, disk := range disks {
		if gone(disk) {
			err = r.cfg.Store.Delete(disk)
		} else if !needed[disk] {
			r.cfg.Log.Error("a disk of the store that no record names is kept", slog.Uint64("disk", disk))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
