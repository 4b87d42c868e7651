package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Keys of the database: an image's is the prefix and its number, eight bytes, most significant
// first.
const (
	imagePrefix = "image/"
	sequenceKey = "sequence/image" // of the numbers of images, volumes and deltas
)

// State is where an image or a volume is in its life.
type State = command.State

// The states. Saving and Deleted are never on disk: a registration that was cut off is Queued
// again.
const (
	Queued  State = "queued"  // the registration is on disk, the source was not looked at
	Saving  State = "saving"  // a job opens and checks the source
	Active  State = "active"  // the disk can be opened
	Killed  State = "killed"  // the registration failed when no caller waited for it any more
	Deleted State = "deleted" // seen only through files that were open before
	Damaged State = "error"   // of a volume that can only be read
)

// LoadMode says how an image's blocks come into the block store.
type LoadMode string

// The load modes. Lazy is also that of a record that says nothing.
const (
	Lazy LoadMode = "lazy" // the blocks that were read
	Full LoadMode = "full" // all blocks, from the registration on
	None LoadMode = "none" // none: the image is read through
)

// Image is the record of an image. Its sections are embedded, so that in the database it is one
// flat JSON object. fate.go says what becomes of each section in a note, a base and a commit.
type Image struct {
	ID         uint64    `json:"id"`
	Name       string    `json:"name"`
	State      State     `json:"state"`
	Registered time.Time `json:"registered"`
	Error      string    `json:"error,omitempty"` // why it was killed
	Source
	Disk
	Keeping
	About
}

// Source is the section about where an image's bytes come from.
type Source struct {
	Path     string          `json:"source"`           // an absolute path; "": a volume that began empty was committed
	Format   string          `json:"format,omitempty"` // as asked for, then as found
	Snapshot string          `json:"snapshot,omitempty"`
	Backing  string          `json:"backing,omitempty"` // an absolute path, in place of the name in the image
	Identity source.Identity `json:"identity"`
	Beside   []chain.File    `json:"beside,omitempty"` // the other files it is read from: backing images, extents
	// SourceSize is the size of the disk that the source has, if it is not Disk.Size: a volume was
	// resized.
	SourceSize int64 `json:"source_size,omitempty"`
}

// Disk is the section about the disk, as found in the source.
type Disk struct {
	Size        int64  `json:"size,omitempty"`        // bytes
	Allocated   int64  `json:"allocated,omitempty"`   // bytes that hold data
	SectorSize  int64  `json:"sector_size,omitempty"` // logical, bytes; 0 is 512
	ClusterSize int64  `json:"cluster_size,omitempty"`
	Compression string `json:"compression,omitempty"`
	Indexed     bool   `json:"indexed,omitempty"` // it has no random access without an index
	Map         string `json:"map,omitempty"`     // the map beside a raw source, or why it was not used
}

// Keeping is the section about the blocks of the disk in the block store.
type Keeping struct {
	Load      LoadMode `json:"load,omitempty"`
	Hydrating bool     `json:"hydrating,omitempty"` // all of it is being loaded, also by the next daemon
	Kept      bool     `json:"kept,omitempty"`      // all of it was loaded: it never leaves by itself
	Committed bool     `json:"committed,omitempty"` // a volume's blocks: no source has them, and they never leave
}

// About is the section that people write.
type About struct {
	Meta map[string]string `json:"meta,omitempty"` // attributes; never changed, only replaced
	Tags map[string]string `json:"tags,omitempty"` // the same
}

func (i Image) key() []byte {
	return binary.BigEndian.AppendUint64([]byte(imagePrefix), i.ID)
}
func (i Image) number() uint64 { return i.ID }
func (i Image) name() string   { return i.Name }

// Stored reports whether the disk is kept in the block store.
func (k Keeping) Stored() bool { return k.Load != None }

// DiskSize returns the size of the source's disk, which has the given size unless a volume was
// resized.
func (s Source) DiskSize(size int64) int64 {
	if s.SourceSize > 0 {
		return s.SourceSize
	}
	return size
}

// Files lists the files an image is read from, as they were at its registration, the source first.
func (s Source) Files() []chain.File {
	return append([]chain.File{{Path: s.Path, Identity: s.Identity}}, s.Beside...)
}

// Reads reports whether a path is one of those files.
func (s Source) Reads(path string) bool {
	return slices.ContainsFunc(s.Files(), func(f chain.File) bool { return f.Path == path })
}

// Unchanged returns nil if the files are as they were at the registration, else the difference. It
// looks at them, and so may wait for another system.
func (s Source) Unchanged(ctx context.Context, sources source.Opener) error {
	if s.Path == "" {
		return command.Refuse(errors.ErrUnsupported, "it was committed, and has no source")
	}
	for _, f := range s.Files() {
		if err := f.Unchanged(ctx, sources); err != nil {
			return err
		}
	}
	return nil
}

// Created returns the time that formats record by default, the source's, so that a disk exported
// twice gives the same bytes. Seconds since 1970.
func (s Source) Created() int64 { return s.Identity.ModTime / int64(time.Second) }
