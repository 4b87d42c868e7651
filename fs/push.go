package fs

// push is called when the kernel has been answered. When the read made the disk decode a whole cluster, the rest of it
// goes into the kernel's page cache, so that the neighbours' reads need no daemon at all, also when the decoded
// cluster has left our own cache long since. (Never from within the read itself: the kernel holds the page
// that is being read, and storing it would wait for the answer.) Who reads past the page cache has no use for that.
func (d *disk) push(r *reply) {
	if r.Fresh == nil || r.handle.direct {
		r.giveBack()
		return
	}
	go func() {
		defer r.giveBack()
		// A kernel that has dropped the inode, or has no memory to spare, says so; the data is only offered.
		_ = d.WriteCache(r.FreshOff, r.Fresh.Bytes())
	}()
}
