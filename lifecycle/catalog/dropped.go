package catalog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lifecycle/command"

	iofs "io/fs"
)

// A start removes only numbers that the database lists as dropped. The transaction that takes a
// number (of an image, a volume or a delta) out of the records enters it as dropped. A file or a
// disk whose number is in no record and was not dropped belongs to a record that was lost, so
// nothing may delete it.

const droppedPrefix = "dropped/"

func droppedKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(droppedPrefix), n)
}

// drop enters numbers that no record needs from this transaction on.
func drop(tx *kv.WriteTx, numbers []uint64) error {
	for _, n := range numbers {
		if err := tx.Set(droppedKey(n), nil); err != nil {
			return err
		}
	}
	return nil
}

// numbers lists all numbers that a record names.
func (i Image) numbers() []uint64 { return []uint64{i.ID} }

func (v Volume) numbers() []uint64 {
	numbers := append([]uint64{v.ID}, v.Deltas...)
	for _, of := range v.Bases() {
		numbers = append(numbers, of.ID)
	}
	return numbers
}

// leaving returns the numbers that records name before the transaction and none names after it.
func (tx *Tx) leaving() []uint64 {
	was, is := map[uint64]bool{}, map[uint64]bool{}
	changed := map[uint64]bool{} // records of the transaction
	for _, ch := range tx.images {
		ch.count(was, is, changed)
	}
	for _, ch := range tx.volumes {
		ch.count(was, is, changed)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(was)), func(n uint64) bool {
		return is[n] || tx.c.neededByOthers(n, changed)
	})
}

func (ch change[R]) count(was, is, changed map[uint64]bool) {
	if ch.old != nil {
		changed[(*ch.old).number()] = true
		for _, n := range (*ch.old).numbers() {
			was[n] = true
		}
	}
	if ch.new != nil {
		for _, n := range (*ch.new).numbers() {
			is[n] = true
		}
	}
}

// neededByOthers reports whether a record that is not in the set names a number. Only disks are
// named by more than one record.
func (c *Catalog) neededByOthers(n uint64, without map[uint64]bool) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if _, ok := c.images.byID[n]; ok && !without[n] {
		return true
	}
	return slices.ContainsFunc(c.resting[n], func(volume uint64) bool { return !without[volume] })
}

// Provisional enters a number as dropped for the time until its record is written: whatever is made
// under it before that is removed by the next start if the record never comes.
func (c *Catalog) Provisional(n uint64) error {
	c.changes.Lock()
	defer c.changes.Unlock()
	if c.closed {
		return command.Refuse(iofs.ErrClosed, "the store is being closed")
	}
	return c.db.Update(func(tx *kv.WriteTx) error { return drop(tx, []uint64{n}) })
}

// Dropped returns the numbers that were dropped, whose files may still exist, and that no record
// names.
func (c *Catalog) Dropped() (map[uint64]bool, error) {
	dropped := map[uint64]bool{}
	err := c.db.View(func(tx *kv.Tx) error {
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
	for n := range c.Needed() {
		delete(dropped, n)
	}
	return dropped, err
}

// Needed returns all numbers that records name.
func (c *Catalog) Needed() map[uint64]bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	needed := map[uint64]bool{}
	for id := range c.images.byID {
		needed[id] = true
	}
	for _, v := range c.volumes.byID {
		for _, n := range v.numbers() {
			needed[n] = true
		}
	}
	return needed
}

// ForgetDropped ends that numbers are kept as dropped, because nothing of theirs is left.
func (c *Catalog) ForgetDropped(dropped map[uint64]bool) error {
	for part := range slices.Chunk(slices.Sorted(maps.Keys(dropped)), 1000) {
		err := c.db.Update(func(tx *kv.WriteTx) error {
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
