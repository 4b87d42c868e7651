package inspect

import (
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/btrfs"
	"github.com/imsfs/imsfs/inspect/tree/ext"
	"github.com/imsfs/imsfs/inspect/tree/fat"
)

// Drivers returns the file systems that are read. Where two claim the same slice, the first that can
// open it has it.
func Drivers() []tree.Driver {
	return []tree.Driver{ext.Driver{}, btrfs.New(codec.NewZstd()), fat.Driver{}}
}
