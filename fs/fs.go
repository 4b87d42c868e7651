// Package fs is the mounted tree: images and volumes as disk files, control files and texts.
//
// Each kind of file is one node type: dir, text, control, disk (an image) and writable (a
// volume). What a directory holds is a list of children made when it is asked for, so the tree has no state of its own that could differ from the registry's. tree.go says what
// is where; mount.go talks to the kernel; errno.go is the only place where an error becomes a number.
//
// How the kernel may cache: names never (a deleted image is gone at once), texts never (they are read anew at each
// open), disks always (an image never changes, and a name given again is another inode), volumes while they are open.
//
// The package knows no format and no verb's meaning: it hands lines down and texts up. Imported only by cmd.
package fs

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Disk is an open disk, lazyload.Disk with a Close of its owner's.
type Disk interface {
	Size() int64
	View(ctx context.Context, scratch []byte, off int64) (*lazyload.View, error)
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
	Close() error
}

// DiskFile is a disk that can be opened.
type DiskFile interface {
	Size() int64      // bytes
	Allocated() int64 // bytes of it that hold data
	Open(ctx context.Context) (Disk, error)
}

// Commander is what stands behind a control file.
type Commander interface {
	// Do carries out one command line. Its error's text is what the user reads.
	Do(ctx context.Context, call command.Call) error
	// Verbs lists the commands that may be used now, a line each.
	Verbs() string
}
