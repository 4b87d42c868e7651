package tree

import "fmt"

// The file types in Attr.Mode and Entry.Type, with Linux's values on every system.
const (
	TypeMask   = 0o170000
	TypeSocket = 0o140000
	TypeLink   = 0o120000
	TypeFile   = 0o100000
	TypeBlock  = 0o060000
	TypeDir    = 0o040000
	TypeChar   = 0o020000
	TypeFifo   = 0o010000
	// TypeUnknown is the type of an entry whose directory does not record it. Stat knows.
	TypeUnknown = 0
)

// Attr are the attributes of a file.
type Attr struct {
	ID           ID
	Mode         uint32 // type and permissions as Linux has them: TypeFile | 0o644
	UID, GID     uint32
	Links        uint32
	Size         int64
	Allocated    int64  // bytes that occupy space in the file system, as st_blocks × 512
	Major, Minor uint32 // of a device node
	// Atime, Mtime, Ctime and Btime (birth) are unknown in a file system that does not record them.
	Atime, Mtime, Ctime, Btime Time
}

// Type returns the file type, one of the Type constants.
func (a Attr) Type() uint32 { return a.Mode & TypeMask }

// Perm returns the permissions with setuid, setgid and sticky.
func (a Attr) Perm() uint32 { return a.Mode &^ TypeMask }

// IsDir reports whether the file is a directory.
func (a Attr) IsDir() bool { return a.Type() == TypeDir }

// Time is a point in time. It is not int64 nanoseconds, because those end in 2262 and file systems
// have later dates. The zero value is unknown.
type Time struct {
	Sec   int64  // since 1970-01-01T00:00:00Z
	Nsec  uint32 // 0 to 999,999,999, also before 1970
	Known bool
}

// At returns the time of sec and nsec.
func At(sec int64, nsec uint32) Time { return Time{sec, nsec, true} }

// String returns the seconds and nanoseconds as stat %.9Y prints them, or "unknown".
func (t Time) String() string {
	if !t.Known {
		return "unknown"
	}
	if t.Sec < 0 && t.Nsec > 0 {
		return fmt.Sprintf("-%d.%09d", -(t.Sec + 1), 1e9-t.Nsec)
	}
	return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec)
}

// Entry is a name in a directory.
type Entry struct {
	Name   []byte // valid until fn returns
	ID     ID
	Type   uint32 // a Type constant, or TypeUnknown
	Cookie uint64 // never 0
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// State says how a file system was left, and which state of it is shown.
type State string

const (
	// Clean was unmounted, and needs no log.
	Clean State = "clean"
	// Replayed was in use; the log is applied in memory.
	Replayed State = "replayed"
	// Dirty was in use; the log is not applied.
	Dirty State = "dirty"
	// Damaged has errors: it says so itself, or a part of it could not be read.
	Damaged State = "damaged"
)

// Info describes a file system that is open.
type Info struct {
	Type      string // as blkid says it: "ext4", "xfs", "vfat"
	Label     string
	UUID      string // as blkid prints it
	Size      int64  // of the file system, bytes
	Used      int64  // bytes; Unknown if only a walk could tell
	BlockSize int64
	State     State
	Features  []string // in the file system's own words, in a stable order
	Notes     []string // sentences for people: "journal replayed: 232 blocks"
}

// Unknown is Info.Used where it is not recorded.
const Unknown = -1
