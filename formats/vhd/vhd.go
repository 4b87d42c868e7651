// Package vhd reads, checks and writes VHD, the image format of Virtual PC, Hyper-V until 2012,
// Azure and XenServer (qemu calls it vpc): fixed disks, which are raw with a footer at the end,
// dynamic disks, whose blocks are found by a table (the BAT), and differencing disks, which hold
// the sectors in which they differ from a parent. docs/formats/vhd.md describes every byte; the
// names here are the specification's, where a block is the cluster of the rest of the project.
//
// layout.go decodes the structures, geometry.go has the size of a disk, seals.go the footers,
// verify.go the rules for footer and header, bat.go the table, parent.go the parent's names.
// open.go, fixed.go and blocks.go (the images), check.go and sweep.go, options.go and create.go use
// them.
package vhd

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const name = "vhd"

// Driver is the formats.Driver of VHD.
type Driver struct{}

var (
	_ formats.Driver  = Driver{}
	_ formats.Checker = Driver{}
	_ formats.Creator = Driver{}
)

func (Driver) Name() string { return name }

// Probe claims a source with the cookie where a footer may begin: at 0, or 512 or 511 bytes from
// the end. A fixed disk has it only at the end. A cookie with a wrong checksum counts too, so that
// Open can name the damage.
func (Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	for _, at := range []int64{0, src.Size() - footerSize, shortFooterAt(src)} {
		if at < 0 || at > src.Size()-int64(len(footerCookie)) {
			continue
		}
		var b [len(footerCookie)]byte
		if err := src.ReadAt(ctx, b[:], at); err != nil {
			return false, err
		}
		if string(b[:]) == footerCookie {
			return true, nil
		}
	}
	return false, nil
}

// shortFooterAt is where a footer of 511 bytes begins, as Virtual PC wrote it before 2004, or -1:
// sectors are whole, so that such a file is a byte short of a multiple of 512.
func shortFooterAt(src formats.Source) int64 {
	if src.Size()%sectorSize != shortFooterSize {
		return -1
	}
	return src.Size() - shortFooterSize
}
