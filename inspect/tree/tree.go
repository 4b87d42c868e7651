// Package tree is the contract between file-system drivers and everything that shows files.
//
// The nouns: a Driver knows one file system; a Tree is a file system read from a disk.Source, files
// by ID; an Entry is a name in a directory. A driver is a small package under this one (tree/ext,
// tree/xfs, …). It is read-only, opens no path, starts no goroutine, keeps no cache of data, and
// knows no other driver. Optional abilities of a Tree are the small interfaces after it. Callers
// use the functions of this package (ReadDir, Lookup, Readlink, Xattrs, Resolve, Walk), which fall
// back and keep the limits.
//
// The contract is by ID and not io/fs: names are bytes, which need not be UTF-8, and links,
// attributes and holes are seen as they are.
//
// A file system is hostile input. A driver checks every count and offset before it is multiplied,
// allocated or followed, and every walk through a structure goes strictly down. Damage is made an
// error by disk.Corrupt, a feature that is not read by disk.Unsupported. A tree never shows less
// than there is without an error or a note.
package tree

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
)

// ID names a file inside its tree. It stays the same as long as the image does, in each Open of it.
type ID uint64

// Driver knows one file system. It holds no state beyond its codecs and is safe for concurrent use.
type Driver interface {
	// Name is a lower-case word: "ext", "xfs".
	Name() string
	// Probe reports by content alone whether src claims to be of this file system. It reads a few
	// KiB at most. A damaged file system with its magic is claimed, so that Open can name the
	// damage; a source too short for the magic is not an error.
	Probe(ctx context.Context, src disk.Source) (bool, error)
	// Open reads and checks the superblock and the log. It reads at most 32 pages, and what a dirty
	// log needs. src must stay open as long as the tree is used.
	Open(ctx context.Context, src disk.Source, opts Options) (Tree, error)
}

// Options are the choices of whoever opens a tree. The zero value is usable.
type Options struct {
	// NoReplay leaves the log alone. The tree is then the one that a boot loader sees.
	NoReplay bool
	// ReplayLimit bounds the memory of a replayed log in bytes. A log that needs more is not
	// replayed, and Info says so. 0 is DefaultReplayLimit.
	ReplayLimit int64
}

// Tree is a file system. It is immutable and safe for concurrent use.
type Tree interface {
	// Info returns the facts of the whole file system. Notes may grow while the tree is read.
	Info() Info
	// Root is the ID of the root directory.
	Root() ID
	// Stat returns the attributes of a file.
	Stat(ctx context.Context, id ID) (Attr, error)
	// ReadDir calls fn for the entries of a directory, in the directory's own order, until fn
	// returns false. "." and ".." are left out. A cookie of 0 starts at the beginning; an entry's
	// Cookie continues after that entry. fn may call the tree, and must copy the name if it keeps
	// it. Entries are never gathered in memory: a directory may have millions. A file that is not a
	// directory is ErrNotDir.
	ReadDir(ctx context.Context, id ID, cookie uint64, fn func(Entry) bool) error
	// ReadAt reads a regular file like io.ReaderAt: fewer than len(p) bytes only with an error,
	// which is io.EOF at the end. Holes and unwritten extents are zeros. Data goes straight into p.
	// A directory is ErrIsDir; any other file that is not regular is ErrNotFile.
	ReadAt(ctx context.Context, id ID, p []byte, off int64) (int, error)
}

// Finder is a Tree that finds a name without reading the whole directory.
type Finder interface {
	// Lookup returns the file of that name, or fs.ErrNotExist. Names are compared as the file
	// system compares them.
	Lookup(ctx context.Context, dir ID, name []byte) (ID, error)
}

// Linker is a Tree that has symbolic links.
type Linker interface {
	// Readlink returns the target, not interpreted. A file that is not a link is ErrNotLink.
	Readlink(ctx context.Context, id ID) ([]byte, error)
}

// Attributer is a Tree that has extended attributes.
type Attributer interface {
	// Xattrs returns all of them, names with the prefixes that the kernel shows: "user.",
	// "security.", "system.posix_acl_access", "trusted.". ACLs are in the kernel's xattr form.
	Xattrs(ctx context.Context, id ID) ([]Xattr, error)
}

// Mapper is a Tree that knows the holes of its files.
type Mapper interface {
	// Extent returns the run of one state that starts at off of a regular file, at least 1 and at
	// most n bytes long. It may stop early. The state is formats.Data or formats.Zero, and a Zero
	// run reads as zeros. A caller asks for 0 <= off < off+n <= Attr.Size.
	Extent(ctx context.Context, id ID, off, n int64) (formats.Extent, error)
}

// Subvolumer is a Tree of several subvolumes. Its Root is the one that is mounted by default.
type Subvolumer interface {
	// Subvolumes returns all that can be reached, the top level first.
	Subvolumes(ctx context.Context) ([]Subvolume, error)
}

// Subvolume is a tree inside a Tree.
type Subvolume struct {
	Number     uint64 // as the file system counts them
	Path       []byte // from the top level; empty for that itself
	Root       ID
	ReadOnly   bool
	UUID       string
	ParentUUID string // of the subvolume it is a snapshot of; "" if it is not one
}
