package output

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

// NoRoom is the error about a file that its file system has no space for, ENOSPC (errors.Is) before
// anything is written.
type NoRoom struct{ Need, Free int64 } // bytes

func (e *NoRoom) Error() string {
	return fmt.Sprintf("the file takes %d bytes if none of the data are zeros, and its file system has %d to spare", e.Need, e.Free)
}

// Is makes it the same as a full file system's error.
func (e *NoRoom) Is(target error) bool { return target == unix.ENOSPC }

// CheckRoom returns an error if there is not enough space for the file. A compressed file is never
// refused, because its size is not known.
func (o *File) CheckRoom(ctx context.Context, img formats.Image, enc formats.Encoder) error {
	free, err := o.Free()
	if err != nil || free < 0 {
		return err
	}
	room := func(data int64) int64 { return data }
	if e, ok := enc.(formats.Estimator); ok {
		room = e.Room
	}
	if room(img.Info().Size) <= free {
		return nil // spares a walk through all tables
	}
	data := img.Info().Allocated
	if data == formats.Unknown {
		if data, err = formats.DataBytes(ctx, img); err != nil {
			return err
		}
	}
	if need := room(data); need > free {
		return &NoRoom{need, free}
	}
	return nil
}
