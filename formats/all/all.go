// Package all lists the drivers, and the well-known contents that none of them reads.
package all

import (
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/iso"
	"github.com/imsfs/imsfs/formats/qcow"
	"github.com/imsfs/imsfs/formats/qcow2"
	"github.com/imsfs/imsfs/formats/qed"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/formats/vdi"
	"github.com/imsfs/imsfs/formats/vhd"
	"github.com/imsfs/imsfs/formats/vhdx"
	"github.com/imsfs/imsfs/formats/vmdk"
	"github.com/imsfs/imsfs/formats/zvhd"
	"github.com/imsfs/imsfs/formats/zvhd2"
)

// Formats returns the set with which the program opens images.
func Formats() formats.Set {
	zstd := codec.NewZstd()
	return formats.Set{
		Drivers: []formats.Driver{
			zvhd2.New(zstd),
			qcow2.New(zstd),
			qcow.New(),
			qed.Driver{},
			vdi.Driver{},
			vhd.Driver{},
			vhdx.Driver{},
			vmdk.New(),
			zvhd.New(),
			iso.Driver{},
		},
		Fallback: raw.Driver{},
		Foreign:  foreign(),
		// Not .vmdk: flat extents, which are raw, have such names.
		Suffixes: []string{".qcow2", ".qcow", ".qed", ".vdi", ".vhd", ".vhdx", ".zvhd", ".zvhd2"},
	}
}
