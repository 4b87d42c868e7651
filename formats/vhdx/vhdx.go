// Package vhdx reads, checks and writes VHDX, the disk image format of Hyper-V (MS-VHDX): payload
// blocks of 1 MiB to 256 MiB anywhere in the file, found by the BAT, and a log through which the
// structures are updated. docs/formats/vhdx.md describes every byte; the names here are the
// format's own, where a block is the cluster of the rest of the project.
//
// header.go finds the current header, log.go and sequence.go the entries of its log that are still
// to be done, and replay.go does them in memory: the rest does not know of the log. region.go,
// metadata.go and locator.go read the regions, the facts of the disk and its parent's names, bat.go
// finds a block. open.go and read.go (the image) and check.go use them. create.go and finish.go
// write.
package vhdx

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const name = "vhdx"

// Driver is the formats.Driver of VHDX.
type Driver struct{}

var (
	_ formats.Driver  = Driver{}
	_ formats.Checker = Driver{}
	_ formats.Creator = Driver{}

	_ formats.SectorKeeper = Driver{}
)

func (Driver) Name() string { return name }

// Probe claims a source by its file identifier, which is written once and stands when all else is
// damaged.
func (Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	if src.Size() < int64(len(identifier)) {
		return false, nil
	}
	b := make([]byte, len(identifier))
	if err := src.ReadAt(ctx, b, 0); err != nil {
		return false, err
	}
	return string(b) == identifier, nil
}

// report takes one finding: an offset in the source, and the sentence. Open keeps the first, Check
// all.
type report func(off int64, format string, args ...any)

// first is a report that keeps the first finding as an error.
type first struct{ err error }

func (f *first) report(off int64, format string, args ...any) {
	if f.err == nil {
		f.err = formats.Corrupt(name, off, format, args...)
	}
}
