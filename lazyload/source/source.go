// Package source opens the places an image's stored bytes come from: today files and block devices.
//
// A source is remembered by its Identity. While it is open every read checks that it is still the thing that was
// opened, and whoever keeps an Identity for later compares it with Identify: bytes of a file that was written to,
// replaced or truncated are never taken for the image's.
package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrChanged is what every error about a source that is no longer what it was is (errors.Is).
var ErrChanged = errors.New("the source has changed")

// Identity tells one state of one source from every other. It is comparable and kept as JSON.
//
// The device number is not in it: the kernel numbers some devices anew at every start, and an inode number
// with a size and a modification time to the nanosecond is enough.
type Identity struct {
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"` // nanoseconds since 1970
}

// Changed returns nil if now equals the identity, or an error that says what changed.
func (id Identity) Changed(location string, now Identity) error {
	switch {
	case id == now:
		return nil
	case id.Inode != now.Inode:
		return fmt.Errorf("%s: %w: another file stands in its place", location, ErrChanged)
	case now.Size < id.Size:
		return fmt.Errorf("%s: %w: truncated from %d to %d bytes", location, ErrChanged, id.Size, now.Size)
	case now.Size > id.Size:
		return fmt.Errorf("%s: %w: grown from %d to %d bytes", location, ErrChanged, id.Size, now.Size)
	}
	return fmt.Errorf("%s: %w: it was written to", location, ErrChanged)
}

// Open opens the source at a location: a path, as the process sees it.
func Open(_ context.Context, location string) (*File, error) {
	if err := Supported(location); err != nil {
		return nil, err
	}
	return openFile(location)
}

// Identify tells what is at a location now, without opening it. A block device has no identity to remember:
// errors.ErrUnsupported.
func Identify(_ context.Context, location string) (Identity, error) {
	if err := Supported(location); err != nil {
		return Identity{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(location, &st); err != nil {
		return Identity{}, fmt.Errorf("%s: %w", location, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return Identity{}, fmt.Errorf("%s: a block device, and nothing tells when that is written to; make a file of it first: %w", location, errors.ErrUnsupported)
	}
	return identity(location, &st)
}

// Supported refuses what is a URL: a path of such a form can be given as ./http://….
func Supported(location string) error {
	if scheme, _, ok := strings.Cut(location, "://"); ok && !strings.Contains(scheme, "/") {
		return fmt.Errorf("%s: sources of the kind %q are not supported: %w", location, scheme, errors.ErrUnsupported)
	}
	return nil
}
