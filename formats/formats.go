// Package formats is the contract between on-disk layouts and everything else.
//
// The nouns: a Source gives the stored bytes of an image file; a Driver knows one layout; an Image
// is a layout read from a Source, a disk whose bytes are decoded on demand; an Extent is a run of
// that disk in one state; an Encoder writes a layout. A driver is a small package beside this one
// (formats/raw, formats/zvhd2, …); formats/all lists them as a value. Drivers open no path, keep no
// cache of decoded data, start no goroutine and import nothing of this module but this package and
// formats/codec.
//
// An image file is hostile input. A driver checks every count and offset against the source's size
// and the limits in limits.go before it is multiplied, allocated or followed; a broken rule becomes
// an error made by Corrupt, which names driver, offset and rule. The checks that all drivers share
// are made once, by Set.Open.
package formats

import (
	"context"
	"fmt"
)

// Source gives the stored bytes of an image file. It is safe for concurrent use.
type Source interface {
	// ReadAt fills all of p with the bytes at off, or returns an error. Reading past the end is an
	// error (io.ErrUnexpectedEOF), and so is a file that has changed since it was opened.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Size is the number of bytes, fixed while the source is open.
	Size() int64
}

// Sparse is an optional role of a Source that knows its own holes. See Holes, by which drivers use
// it.
type Sparse interface {
	// Hole reports whether the bytes at off are a hole, and how many bytes stay in that state, at
	// least 1 and at most n. The caller keeps 0 <= off < off+n <= Size().
	Hole(ctx context.Context, off, n int64) (hole bool, length int64, err error)
	// Allocated is the number of bytes that occupy space.
	Allocated() int64
}

// State is the origin of an extent's bytes.
type State uint8

const (
	// Unallocated bytes are not in this image: its backing image has them, and without one they are
	// zeros.
	Unallocated State = iota
	// Zero bytes are zeros, whatever the backing image holds.
	Zero
	// Data bytes are stored in the source.
	Data
)

// String gives the word used in outputs.
func (s State) String() string {
	switch s {
	case Unallocated:
		return "unallocated"
	case Zero:
		return "zero"
	case Data:
		return "data"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Extent is a run of a disk in one state.
type Extent struct {
	Off, Len int64 // bytes, in the disk
	State    State
	// Compressed data can only be decoded a whole cluster at a time, so that a decoded cluster is
	// worth keeping. Other data costs no more than the bytes read.
	Compressed bool
	// Depth is the image of a backing chain that decides the state: 0 is the image itself, 1 its
	// backing image. Drivers leave it 0.
	Depth int
}

// End is the offset of the first byte after the extent.
func (e Extent) End() int64 { return e.Off + e.Len }

// Image is a disk inside a source. It is immutable and safe for concurrent use; it does not own its
// source.
type Image interface {
	Info() Info

	// Extent returns the run of one state that starts at off, at least 1 and at most n bytes long.
	// It may stop early if looking further would cost another read of metadata; Extents joins such
	// runs. The caller keeps 0 <= off < off+n <= Info().Size.
	Extent(ctx context.Context, off, n int64) (Extent, error)

	// ReadAt fills all of p with the disk's bytes at off, or returns an error. Bytes that are not
	// Data read as zeros. A read of a whole cluster decodes it once and straight into p. A read of
	// a part decodes all of it and throws the rest away, so callers should read whole clusters. The
	// caller keeps 0 <= off <= off+len(p) <= Info().Size.
	ReadAt(ctx context.Context, p []byte, off int64) error
}

// Info is the facts of an open image.
type Info struct {
	Format      string // the driver's name
	Size        int64  // virtual size, bytes
	SectorSize  int64  // logical, bytes; 0 means 512 in a driver, and Set.Open fills it in
	ClusterSize int64  // the unit of decoding, bytes: a power of two
	Allocated   int64  // bytes of the disk in Data extents; Unknown if only a walk through all tables could tell
	Compression string // codec of the compressed clusters, if any: "zstd", "zlib"; "" if the image can have none
	ID          string // names the image's content for those that are based on it (Backing.ID); "" if the format has no such name
	Backing     *Backing
	Snapshots   []Snapshot // internal ones, in the order of the image
	Details     []Detail   // in the format's own words, in a stable order
}

// Unknown is Info.Allocated of an image whose tables are only read as they are needed. Occupied
// counts.
const Unknown = -1

// Backing names the image that has the bytes of Unallocated extents. The driver only reads the
// name. The caller decides whether and how to follow it.
type Backing struct {
	Paths  []string // in the image's words, the one to try first at the start
	Format string   // in the image's words: a driver's name, or vpc, QEMU's word for vhd; "" if it names none
	ID     string   // must be the backing image's Info.ID, if both are known
}

// Snapshot is a state of the disk that an image keeps beside the active one.
type Snapshot struct {
	ID, Name string
	Time     int64 // seconds since 1970
	Size     int64 // of the disk then, bytes
	VMState  int64 // bytes of the machine's memory that are kept with it
}

// OpenOptions are optional inputs of Driver.Open. The zero value is usable.
type OpenOptions struct {
	// Snapshot is the name or ID of an internal snapshot to read instead of the active state. A
	// format without snapshots refuses it, see NoSnapshot.
	Snapshot string
	// Files opens the other files of an image, for example a VMDK's extents. Nil refuses all.
	Files Files
}

// Files opens other files that an image names.
type Files interface {
	// Open opens a file by the name that the image has for it, if that is allowed. Files closes the
	// source.
	Open(ctx context.Context, name string) (Source, error)
}

// Detail is one fact about an image in its format's own words, a lower-case key with underscores.
type Detail struct{ Key, Value string }

// Driver knows one on-disk layout. It holds no state beyond its codecs and is safe for concurrent
// use.
type Driver interface {
	// Name is a lower-case word, the FMT of command lines and the format=FMT of register.
	Name() string
	// Probe reports whether the content claims to be of this format. It reads a few KiB at most. A
	// damaged file with the right magic number is claimed, so that Open can name the damage.
	Probe(ctx context.Context, src Source) (bool, error)
	// Open reads and checks the metadata. Memory and time are bounded by the source's size and by
	// limits.go; tables that grow with the disk are read as they are needed (formats/tables), so
	// that a disk of any size opens at once.
	Open(ctx context.Context, src Source, opts OpenOptions) (Image, error)
}

// Indexed is an Image without random access of its own. Until it has an index, which takes a pass
// over the source, a read may decode much of the disk before its offset. Reads are right with and
// without an index.
type Indexed interface {
	Image
	// IndexSize is the length of the index in bytes.
	IndexSize() int64
	// BuildIndex makes the index in one pass and calls write with pieces of any size, from front to
	// back. write must not keep a piece.
	BuildIndex(ctx context.Context, write func(p []byte) error) error
	// UseIndex makes reads use an index that BuildIndex made of the same source. An index that does
	// not fit is ErrCorrupt and is not used. It must stay open as long as the image is in use.
	UseIndex(ctx context.Context, index Source) error
	// UsesIndex reports whether reads use an index. A damaged one is given up.
	UsesIndex() bool
}

// Checker is a Driver that can check a whole file for damage.
type Checker interface {
	// Check reports every problem in file order, and goes on as far as the damage allows. The error
	// means that it could not look, and never damage.
	Check(ctx context.Context, src Source, opts OpenOptions, report func(Problem)) error
}

// Problem is one finding of a Checker.
type Problem struct {
	Off  int64 // where in the source
	Text string
	// Leak marks space that is lost but harms no data; any other problem is damage.
	Leak bool
}

// Creator is a Driver that can write its layout.
type Creator interface {
	// Options lists the keys that CreateOptions.Set may have, in a stable order; nil if there are
	// none.
	Options() []Option
	// Create prepares writing a disk of size bytes, a multiple of 512. The error about a size or an
	// option that the format cannot have names the limit.
	Create(size int64, opts CreateOptions) (Encoder, error)
}

// CreateOptions are the inputs of a writer besides the disk. The zero value is usable and
// deterministic: the same disk gives the same bytes.
type CreateOptions struct {
	Level     int      // compression level in zstd's or zlib's numbers; 0 is the format's usual one
	Timestamp int64    // seconds since 1970-01-01T00:00:00Z, where the format records its creation; if it cannot hold that, the nearest
	UUID      [16]byte // where the format records one
	// SectorSize is the disk's Info.SectorSize; 0 is 512. A layout that means 512 by definition
	// refuses others (ErrSectorSize); one that says nothing of sectors takes any; one that records
	// it is a SectorKeeper.
	SectorSize int64
	Name       string // of the file that is written, without its directory, where the format records it; "" if it has none
	// Set has choices particular to the format, by the keys that Creator.Options lists. Missing
	// keys have their defaults. uuid and timestamp are the fields above. See Choose and CheckSet.
	Set map[string]string
}

// SectorKeeper is a Creator whose layout records the size of the disk's logical sectors.
type SectorKeeper interface {
	Creator
	KeepsSectorSize()
}

// Option is a choice that a format leaves to its user, the K=V of the command line.
type Option struct{ Key, Help string }

// Encoder writes one image. The caller walks the disk cluster by cluster and leaves out clusters of
// zeros. It may call Encode on many goroutines at once; it calls Place for one chunk after another
// in ascending order, and then writes each chunk where Place put it, in any order. When all chunks
// are written, it calls Finish for the rest of the file.
type Encoder interface {
	// ClusterSize is the number of plain bytes a chunk holds; a power of two.
	ClusterSize() int64
	// Encode returns the chunk of cluster ci. plain has all ClusterSize bytes of it, padded with
	// zeros after the disk's end. Encode may use dst's capacity; the result never aliases anything
	// but dst and plain.
	Encode(dst, plain []byte, ci int64) ([]byte, error)
	// Place returns the offset at which the n bytes of cluster ci's chunk belong.
	Place(ci int64, n int) (off int64, err error)
	// Finish writes headers and tables and gives the file its final size.
	Finish(ctx context.Context, dst Target) error
}

// Chained is an Encoder of a layout in which one compressed stream runs through all chunks: each
// depends on the plain bytes of the stored cluster before it, but not on how those were encoded, so
// that Encode still runs on many goroutines.
type Chained interface {
	Encoder
	// Reach is how many plain bytes before a cluster its chunk depends on; at most ClusterSize.
	Reach() int
	// EncodeAfter is Encode of a cluster that follows another. before is the last Reach bytes of
	// the previous cluster that is not left out, and is not kept. It is nil for the first cluster,
	// for which Encode does the same.
	EncodeAfter(dst, plain []byte, ci int64, before []byte) ([]byte, error)
}

// Estimator is an optional role of an Encoder whose file is not as large as the disk's data.
type Estimator interface {
	// Room returns the least space of the file for so many bytes of Data; 0 if only compressing
	// them could tell.
	Room(data int64) int64
}

// Target is the file an Encoder writes: *os.File is one.
type Target interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
}

// Preallocator is an optional role of a Target that can set space aside.
type Preallocator interface {
	// Allocate sets space aside, so that a later write to the n bytes at off cannot fail for lack
	// of it. The content stays.
	Allocate(off, n int64) error
}
