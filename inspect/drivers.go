package inspect

import (
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/btrfs"
	"github.com/imsfs/imsfs/inspect/tree/ext"
	"github.com/imsfs/imsfs/inspect/tree/fat"
	"github.com/imsfs/imsfs/inspect/tree/iso"
	"github.com/imsfs/imsfs/inspect/tree/squashfs"
	"github.com/imsfs/imsfs/inspect/tree/xfs"
)

// Drivers returns the file systems that are read. Where two claim the same slice, the first that
// can open it has it.
func Drivers() []tree.Driver {
	z := codec.NewZstd()
	return []tree.Driver{ext.Driver{}, xfs.Driver{}, btrfs.New(z), squashfs.New(z), iso.Driver{}, fat.Driver{}}
}
