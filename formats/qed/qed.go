// Package qed reads and checks QED, the QEMU Enhanced Disk format: a header and two levels of
// tables of 64-bit offsets, L1 and L2, to clusters. docs/formats/qed.md describes every byte; the
// names here are the specification's.
//
// header.go decodes the header and rules.go verifies it; tables.go finds a cluster. open.go and
// read.go (the image) and check.go use them. The tables are read in pages, as they are needed.
package qed

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const (
	name  = "qed"
	magic = "QED\x00"
)

// Driver is the formats.Driver of QED.
type Driver struct{}

var (
	_ formats.Driver  = Driver{}
	_ formats.Checker = Driver{}
)

// Name is "qed".
func (Driver) Name() string { return name }

// Probe claims a source by its magic.
func (Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	var b [len(magic)]byte
	if src.Size() < int64(len(b)) {
		return false, nil
	}
	if err := src.ReadAt(ctx, b[:], 0); err != nil {
		return false, err
	}
	return string(b[:]) == magic, nil
}
