package blockstore

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned by Read for a block that the store does not have, or no longer
	// has.
	ErrNotFound = errors.New("the block is not in the store")
	// ErrDamaged matches every DamagedError.
	ErrDamaged = errors.New("the stored block is damaged")
	// ErrFull is returned by Save if the blocks would exceed the store's limits.
	ErrFull = errors.New("the store is full")
	// ErrIncomplete is returned by Digest for a disk with blocks missing from the store.
	ErrIncomplete = errors.New("the disk is not complete")
)

// DamagedError reports a block whose stored bytes are not the saved ones.
type DamagedError struct {
	ID   ID
	Pack uint32 // the pack file's number
	Off  int64  // the record's offset in it
	Why  string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("block %s in pack %d at %#x is damaged: %s", e.ID, e.Pack, e.Off, e.Why)
}

// Is makes errors.Is match ErrDamaged.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }
