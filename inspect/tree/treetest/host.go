package treetest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/inspect/tree"
)

// HostRecords reads everything of a directory of the host.
func HostRecords(t testing.TB, dir string, has Traits) []Record {
	t.Helper()
	var records []Record
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		r, err := hostRecord(path, has)
		r.Path = strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		records = append(records, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	setSame(records)
	return records
}

func hostRecord(path string, has Traits) (r Record, err error) {
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return r, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	r = Record{Xattrs: map[string]string{}, Attr: tree.Attr{
		ID: tree.ID(st.Ino), Mode: uint32(st.Mode), UID: st.Uid, GID: st.Gid, Links: st.Nlink,
		Size: int64(st.Size), Allocated: int64(st.Blocks) * 512, Major: st.Rdev_major, Minor: st.Rdev_minor,
		Atime: hostTime(st.Atime), Mtime: hostTime(st.Mtime), Ctime: hostTime(st.Ctime), Btime: hostTime(st.Btime),
	}}
	switch r.Type() {
	case tree.TypeFile:
		r.Sum, err = hostSum(path, r.Size)
	case tree.TypeLink:
		r.Target, err = os.Readlink(path)
	}
	if err == nil && has.Xattrs {
		err = hostXattrs(path, r.Xattrs)
	}
	return r, err
}

func hostTime(t unix.StatxTimestamp) tree.Time { return tree.At(t.Sec, t.Nsec) }

func hostSum(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	s := newSummer()
	for off := int64(0); off < size; {
		data, err := f.Seek(off, unix.SEEK_DATA)
		if err != nil { // there is none
			break
		}
		end, err := f.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return "", err
		}
		err = s.add(data, min(end, size)-data, func(p []byte, off int64) error {
			_, err := f.ReadAt(p, off)
			return err
		})
		if err != nil {
			return "", err
		}
		off = end
	}
	return s.result(), nil
}

func hostXattrs(path string, into map[string]string) error {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return &os.PathError{Op: "llistxattr", Path: path, Err: err}
	}
	value := make([]byte, 64<<10)
	for _, name := range bytes.Split(names[:n], []byte{0}) {
		if len(name) == 0 {
			continue
		}
		n, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return &os.PathError{Op: "lgetxattr " + string(name), Path: path, Err: err}
		}
		into[string(name)] = string(value[:n])
	}
	return nil
}
