package main

import (
	"context"
	"errors"
	"fmt"
)

// The exit codes, an interface with a promise: see docs/cli.md. check and compare use those of qemu-img, so that
// scripts written for it go on working, and so have codes of their own for errors.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells have it

	exitDiffer        = 1 // compare
	exitCannotCompare = 2

	exitCannotCheck = 1 // check
	exitDamage      = 2
	exitLeaks       = 3
	exitNoChecks    = 63
)

const exitCodesHelp = `Exit codes:
  0    done
  1    failed; stderr says why in one line
  2    the command line is wrong
  130  interrupted (SIGINT or SIGTERM; of run also SIGHUP)

compare has qemu-img's:
  0    the disks are equal
  1    they differ
  2    they could not be compared, or the command line is wrong

check has qemu-img's:
  0    no damage
  1    the file could not be checked, or the command line is wrong
  2    damage
  3    space is lost, but no data
  63   the format has nothing to check (raw)

inspect, partitions, ls-files, cat, cp, find, du, df, tar, hash and diff have besides 0, 1 and 2:
  3    there is no such image, slice or file
  4    a file system or a feature of it is not supported
  5    damage
`

// verdict ends a command that did its work and has told what it found: the exit code says it once more.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

// usageError is about the command line.
type usageError struct {
	verb string // the command as typed, for the hint
	err  error
}

func (e *usageError) Error() string { return fmt.Sprintf("%v (see %s --help)", e.err, e.verb) }
func (e *usageError) Unwrap() error { return e.err }

// errNoChecks is check's answer for a format without a checker.
var errNoChecks = errors.New("the format has nothing that could be checked")

func exitCode(verb string, err error) int {
	var v verdict
	var usage *usageError
	var in *insideError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &v):
		return int(v)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &in):
		return in.code
	case errors.Is(err, errNoChecks):
		return exitNoChecks
	case verb == "compare":
		return exitCannotCompare
	case verb == "check":
		return exitCannotCheck
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}
