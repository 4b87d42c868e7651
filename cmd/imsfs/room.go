package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/output"
)

// checkRoom refuses to begin what there is no space for. What compression will save is not known, so that then nothing is refused.
func checkRoom(ctx context.Context, img formats.Image, enc formats.Encoder, dst *output.File) error {
	free, err := dst.Free()
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
		if data, err = countData(ctx, img); err != nil {
			return err
		}
	}
	if need := room(data); need > free {
		return fmt.Errorf("the file takes %s (%d bytes) if none of the data are zeros, and its file system has %s to spare (--no-space-check tries nevertheless)",
			humanize.IBytes(uint64(need)), need, humanize.IBytes(uint64(free)))
	}
	return nil
}

// explainFull adds to the error of a full file system what became of the file.
func explainFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: nothing is left of it", err)
	}
	return err
}
