package output

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed, as by Linux.
const maxLinks = 40

// followLinks returns the path of the file that a path leads to, so that a link's target is
// replaced and not the link. The file need not exist unless it is a link's target.
//
// Links are read here and not by the kernel, because a rename, unlike open(2), has no protection
// against links that another user placed in a directory such as /tmp.
func followLinks(path string) (string, error) {
	at := path
	for range maxLinks {
		target, err := readLink(at)
		switch {
		case errors.Is(err, iofs.ErrNotExist) && at != path:
			return "", fmt.Errorf("%s: is a symbolic link to %s, which does not exist: name that file, or remove the link", path, at)
		case errors.Is(err, iofs.ErrPermission):
			return "", err
		case err != nil || target == "":
			return at, nil // the next step meets an error again
		case !filepath.IsAbs(target):
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
	}
	return "", fmt.Errorf("%s: %w", path, unix.ELOOP)
}

// readLink returns the target of a symbolic link, "" of anything else.
func readLink(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	if bait, err := isBait(path, &st); err != nil || bait {
		return "", errors.Join(err, refuseBait(path, "a symbolic link", st.Uid))
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	return string(target[:max(n, 0)]), err
}

// isBait reports whether a file may have been placed for this process to stumble upon: it is
// another user's, in a directory where anyone may create files and only owners may replace them.
// This is the kernel's rule of fs.protected_symlinks and fs.protected_regular.
func isBait(path string, st *unix.Stat_t) (bool, error) {
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
		return false, err
	}
	const shared = unix.S_ISVTX | unix.S_IWOTH
	return dir.Mode&shared == shared && st.Uid != uint32(os.Geteuid()) && st.Uid != dir.Uid, nil
}

func refuseBait(path, what string, uid uint32) error {
	return fmt.Errorf("%s: is %s of user %d in a directory where anyone can create files, and is not followed or replaced: choose another name: %w",
		path, what, uid, iofs.ErrPermission)
}

// replaceable refuses a file that must not be replaced.
func replaceable(path string, sources []string, force bool) error {
	info, err := os.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, source := range sources {
		src, err := os.Stat(source)
		switch {
		case errors.Is(err, iofs.ErrNotExist): // the daemon may export an image after its source is gone
		case err != nil:
			return fmt.Errorf("%s: %w", source, err)
		case os.SameFile(info, src) && source == sources[0]:
			return fmt.Errorf("%s: is the source itself", path)
		case os.SameFile(info, src):
			return fmt.Errorf("%s: is a file that the source is based on", path)
		}
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s: is a directory, not a regular file: name the file to be written in it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file: to write a raw disk to it, use imsfs convert -O raw SRC - >%s", path, path)
	case !force:
		return fmt.Errorf("%s: %w", path, iofs.ErrExist)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if bait, err := isBait(path, &st); err != nil || bait {
		return errors.Join(err, refuseBait(path, "a file", st.Uid))
	}
	return nil
}
