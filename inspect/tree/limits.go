package tree

import (
	"errors"
	"fmt"
)

// Limits that hold for any tree, whatever it claims.
const (
	MaxPath     = 4096     // bytes of a path
	MaxName     = 1024     // bytes of a name: 255 UTF-16 units are 765
	MaxDepth    = 255      // directories on a path
	MaxFollowed = 40       // symbolic links followed to resolve a path
	MaxTarget   = 4096     // bytes of a symbolic link
	MaxXattrs   = 64 << 10 // bytes of one value, and of all names of a file
	MaxEntries  = 4 << 20  // entries of a directory that are shown

	// DefaultReplayLimit is Options.ReplayLimit if it is 0.
	DefaultReplayLimit = 256 << 20
)

var (
	ErrNotDir  = errors.New("not a directory")
	ErrIsDir   = errors.New("is a directory")
	ErrNotFile = errors.New("not a regular file")
	ErrNotLink = errors.New("not a symbolic link")
	// ErrLoop is a path with too many symbolic links, or a directory inside itself.
	ErrLoop = errors.New("too many levels of links")
	// ErrLimit is a path, name, target or directory over a limit of this package.
	ErrLimit = errors.New("over the limit")
)

// ReplayMemory returns the bytes a replayed log may take.
func (o Options) ReplayMemory() int64 {
	if o.ReplayLimit == 0 {
		return DefaultReplayLimit
	}
	return o.ReplayLimit
}

func over(what string, got, limit int) error {
	return fmt.Errorf("%s: %d, at most %d: %w", what, got, limit, ErrLimit)
}
