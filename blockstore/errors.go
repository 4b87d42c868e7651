package blockstore

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is what a read of a block returns that the store does not have, or no longer has.
	ErrNotFound = errors.New("the block is not in the store")
	// ErrDamaged is what a DamagedError is.
	ErrDamaged = errors.New("the stored block is damaged")
	// ErrFull is what Save returns when its blocks would exceed the store's limits.
	ErrFull = errors.New("the store is full")
	// ErrIncomplete is what Digest returns for a disk that is not in the store as a whole.
	ErrIncomplete = errors.New("the disk is not complete")
)

// DamagedError is a block whose stored bytes are not what was saved.
type DamagedError struct {
	ID   ID
	Pack uint32 // the pack file's number
	Off  int64  // the record's offset in it
	Why  string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("block %s in pack %d at %#x is damaged: %s", e.ID, e.Pack, e.Off, e.Why)
}

// Is makes it ErrDamaged.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }
