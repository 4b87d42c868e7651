package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"syscall"

	"github.com/imsfs/imsfs/lazyload/source"
)

// errno returns the number for the kernel that stands for an error. An error that is not expected
// here is EIO and a log line, because the reader of a disk sees no sentence. (The FUSE library's
// own ToErrno does not unwrap, and makes an unknown error ENOSYS, after which the kernel never
// sends that request again.)
func errno(log *slog.Logger, what string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, known := range []struct {
		is error
		no syscall.Errno
	}{
		{iofs.ErrNotExist, syscall.ENOENT},
		{iofs.ErrExist, syscall.EEXIST},
		{syscall.EACCES, syscall.EACCES}, // which is an ErrPermission, too
		{iofs.ErrPermission, syscall.EPERM},
		{iofs.ErrInvalid, syscall.EINVAL},
		{iofs.ErrClosed, syscall.ESTALE},
		{errors.ErrUnsupported, syscall.EOPNOTSUPP},
		{source.ErrChanged, syscall.ESTALE},
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
	} {
		if errors.Is(err, known.is) {
			return known.no
		}
	}
	var no syscall.Errno
	if errors.As(err, &no) && no != syscall.ENOSYS {
		return no
	}
	log.Error(what, "error", err)
	return syscall.EIO
}
