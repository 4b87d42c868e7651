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

// retryUnmount is how often a tree that is in use is tried again. The kernel has no event for the
// moment in which its last user leaves.
const retryUnmount = 250 * time.Millisecond

// waitUnmounted returns when the tree is gone: when it was unmounted by hand; after a first signal,
// once no process uses it any more; after a second signal, at once. A tree that is mounted in
// another mount namespace too, for example in a container, is in use while that namespace lives.
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
				log.Warn("waiting for those who use the tree; a second signal takes it away from them", "reason", err)
			}
			retry = time.After(retryUnmount)
		}
	}
}

// takeAway detaches the tree. If the daemon is not root's, the helper that mounted the tree does.
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
