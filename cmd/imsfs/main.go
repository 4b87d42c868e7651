// Command imsfs turns disk images into raw disks.
//
// Each verb has a file of its own: an options struct, its flags, and a function that does the work with what the
// environment gives it. This file alone touches the process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/imsfs/imsfs/formats/all"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal asks, a second one kills
	env := &environment{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
		getenv:   os.Getenv,
		now:      time.Now,
		signals:  signals,
		formats:  all.Formats(),
	}
	os.Exit(run(ctx, env, os.Args[1:]))
}

func signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(c, syscall.SIGHUP)
	}
	// A reader of the log that went away must not take the server with it, which would leave a dead mount.
	signal.Ignore(syscall.SIGPIPE)
	return c, func() { signal.Stop(c) }
}
