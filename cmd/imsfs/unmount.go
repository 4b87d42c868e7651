package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/imsfs/imsfs/fs"
)

// retryUnmount is how often a tree that is in use is tried again. The kernel has no event for its last user's leaving.
const retryUnmount = 250 * time.Millisecond

// waitUnmounted returns when the tree is gone: unmounted by somebody, after a first signal once nobody uses it any
// more, or after a second one at once.
func waitUnmounted(server *fs.Server, mountpoint string, signals <-chan os.Signal, log *slog.Logger) error {
	gone := make(chan struct{})
	go func() {
		server.Wait()
		close(gone)
	}()
	var retry <-chan time.Time
	for asked := false; ; {
		select {
		case <-gone:
			return nil
		case sig := <-signals:
			if asked && sig == syscall.SIGHUP {
				continue // a terminal that closes says so more than once
			}
			if asked {
				log.Warn("taking the tree away from its users", "signal", sig)
				return takeAway(server, mountpoint)
			}
			asked = true
			log.Info("unmounting", "signal", sig)
		case <-retry:
		}
		if err := server.Unmount(); err != nil {
			if retry == nil {
				log.Warn("waiting for those who use the tree; a second signal takes it away from them", "reason", cause(err))
			}
			retry = time.After(retryUnmount)
		}
	}
}

// takeAway detaches the tree; for who is not root, the helper that mounted it does.
func takeAway(server *fs.Server, mountpoint string) error {
	err := server.Detach()
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	if out, err := exec.Command("fusermount3", "-u", "-z", mountpoint).CombinedOutput(); err != nil {
		return fmt.Errorf("detaching %s: %w: %s", mountpoint, err, bytes.TrimSpace(out))
	}
	return nil
}

func cause(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
