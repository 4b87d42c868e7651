package fs

import (
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Space says what df shows for the mount: the space of the file system on which the tree's bytes
// are kept, within a limit if there is one.
type Space struct {
	Dir   string                // a directory of that file system
	Limit int64                 // bytes that may be kept there; 0 means that all of it may be used
	Used  func() (int64, error) // bytes that are kept there now; needed with a Limit
}

// longestName is the longest name of an image, a volume or an attribute in bytes.
const longestName = 255

func (s Space) statfs(out *fuse.StatfsOut) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.Dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", s.Dir, err)
	}
	unit := st.Frsize
	if unit <= 0 {
		unit = max(st.Bsize, 512)
	}
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(max(st.Bsize, 512)), Frsize: uint32(unit), NameLen: longestName,
	}
	if s.Limit <= 0 {
		return nil
	}
	used, err := s.Used()
	if err != nil {
		return err
	}
	out.Blocks = min(out.Blocks, uint64(s.Limit/unit))
	left := uint64(max(s.Limit-used, 0) / unit)
	out.Bfree, out.Bavail = min(out.Bfree, left), min(out.Bavail, left)
	return nil
}
