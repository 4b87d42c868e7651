package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// A detached server is a process of its own, started by one that waits until it serves. It says so by a pipe: the one
// word below, or the sentence why not. A pipe that closes without a word is a process that died.
const readyWord = "ready"

// detach starts the server in a session of its own and returns once it serves, or with its reason why not.
func detach(ctx context.Context, opts serveOptions) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// The log is the server's stderr, so that what the Go runtime has to say at its end is in it, too.
	log, err := os.OpenFile(opts.logFile, logFlags, logMode)
	if err != nil {
		w.Close()
		return fmt.Errorf("log file: %w", err)
	}
	defer log.Close()
	args := []string{"serve", opts.mountpoint, "--store", opts.store,
		"--cache-size", opts.cacheSize.String(), "--read-ahead", opts.readAhead.String(),
		"--store-limit", opts.storeLimit.String(), "--free-floor", opts.freeFloor.String(),
		"--allow-other=" + strconv.FormatBool(opts.allowOther), "--ready-fd", "3"}
	for _, dir := range opts.allowDirs {
		args = append(args, "--allow-backing-dir", dir)
	}
	for _, prefix := range opts.allowURLs {
		args = append(args, "--allow-url", prefix)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = "/"
	cmd.Stderr = log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	said, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case string(said) == readyWord:
		return cmd.Process.Release()
	}
	err = cmd.Wait()
	if sentence := strings.TrimSpace(string(said)); sentence != "" {
		return errors.New(sentence)
	}
	return fmt.Errorf("the server ended before it was ready: %w", err)
}

// announce runs serve with a ready that says so on fd, where a reason is said too if it ends before that. With no fd
// there is nobody to tell.
func announce(fd int, serve func(ready func() error) error) error {
	if fd == 0 {
		return serve(func() error { return nil })
	}
	pipe := os.NewFile(uintptr(fd), "ready")
	told := false
	err := serve(func() error {
		told = true
		_, err := pipe.WriteString(readyWord)
		return errors.Join(err, pipe.Close())
	})
	if err != nil && !told {
		pipe.WriteString(oneLine(err))
	}
	return err
}
