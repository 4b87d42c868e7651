package inspect

import (
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/fat"
)

// Drivers returns the file systems that are read. Where two claim the same slice, the first that can
// open it has it.
func Drivers() []tree.Driver {
	return []tree.Driver{fat.Driver{}}
}
