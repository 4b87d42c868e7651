// Package vdi reads, checks and writes VDI, VirtualBox's Virtual Disk Image: a header, a block map
// of 32-bit numbers, and the blocks, usually of 1 MiB, in the order in which they were first
// written. docs/formats/vdi.md describes every byte; the names here are the format's own, where a
// block is the cluster of the rest of the project.
//
// header.go decodes the header and rules.go verifies it; open.go and read.go are the image,
// check.go checks and create.go writes. The block map is read in pages, as it is needed.
package vdi

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
)

const name = "vdi"

// Driver is the formats.Driver of VDI.
type Driver struct{}

var (
	_ formats.Driver  = Driver{}
	_ formats.Checker = Driver{}
	_ formats.Creator = Driver{}
)

// Name is "vdi".
func (Driver) Name() string { return name }

// Probe claims a source by its signature. The text before it names the program that made the file,
// and can be anything.
func (Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	var b [4]byte
	if src.Size() < atSignature+int64(len(b)) {
		return false, nil
	}
	if err := src.ReadAt(ctx, b[:], atSignature); err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint32(b[:]) == signature, nil
}
