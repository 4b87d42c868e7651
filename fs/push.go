package fs

import "github.com/imsfs/imsfs/tree"

// push is called when the kernel has been answered. If the read made the disk decode a whole
// cluster, the rest of the cluster goes into the kernel's page cache, so that reads of the
// neighbours need no daemon at all, even when the decoded cluster has left our own cache. (It must
// not be done from within the read: the kernel holds the page that is being read, and storing that
// page would wait for the answer.) A reader that goes past the page cache has no use for it.
func (d *disk) push(r *reply) {
	if r.Fresh == nil || r.handle.direct || !d.tree.Constant {
		r.giveBack()
		return
	}
	go func() {
		defer r.giveBack()
		off, p := pages(tree.Fresh(r.View, r.handle.disk.Size()))
		if len(p) > 0 {
			// The data is only offered: the kernel may have dropped the inode or lack memory.
			_ = d.WriteCache(off, p)
		}
	}()
}

// pages leaves out what lies before the first whole page. A cluster begins with a page, and a
// partition of a disk may begin anywhere.
func pages(off int64, p []byte) (int64, []byte) {
	skip := min(-off&(blockSize-1), int64(len(p)))
	return off + skip, p[skip:]
}
