package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lifecycle/output"
)

// explainFull adds to the error of a full file system what became of the file, or what to do where nothing was begun.
func explainFull(err error) error {
	var none *output.NoRoom
	switch {
	case errors.As(err, &none):
		return fmt.Errorf("the file takes %s (%d bytes) if none of the data are zeros, and its file system has %s to spare (--no-space-check tries nevertheless)",
			humanize.IBytes(uint64(none.Need)), none.Need, humanize.IBytes(uint64(none.Free)))
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: nothing is left of it", err)
	}
	return err
}
