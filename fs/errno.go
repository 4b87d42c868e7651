package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"syscall"

	"github.com/imsfs/imsfs/lazyload/source"
)

// errno is the number the kernel is given for an error. What is not expected here is EIO, with a log line: the
// reader of a disk sees no sentence. (go-fuse's own ToErrno does not unwrap, and turns the unknown into ENOSYS,
// after which the kernel never asks again.)
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

// readErrno is errno for reads of a disk: to a virtual machine every failure is an input/output error, whatever its
// cause, and none may look like an interrupted call; the log has the cause.
func readErrno(log *slog.Logger, what string, err error) syscall.Errno {
	log.Error(what, "error", err)
	return syscall.EIO
}

// uninterrupted is a request's ctx without the kernel's word that its caller was sent a signal. That is no wish to stop:
// runtimes and terminals send signals all the time, few programs expect EINTR of a file, and one that does writes a
// command again, which then finds its own first doing in the way. A process that is being killed waits at most for
// the one answer it is owed.
func uninterrupted(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
