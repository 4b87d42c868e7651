package qcow2

import "math"

// allocator hands out the file's space from its second cluster on, in the order of the calls.
// Compressed bytes are packed as by QEMU: each piece right after the last, across the border
// between clusters that follow each other. After whole clusters, they go on in the last cluster
// that has room.
type allocator struct {
	geometry
	end  int64 // of the used part, in whole clusters
	free int64 // where the next compressed bytes go if they fit

	// The cluster being filled with compressed bytes, and how many clusters of the disk have bytes
	// in it.
	filled     int64
	references int
	// closed is called for each cluster that is full, with its refcount, in ascending order.
	closed func(cluster int64, refcount int)
}

func newAllocator(g geometry, closed func(cluster int64, refcount int)) *allocator {
	return &allocator{geometry: g, end: g.cluster(), free: g.cluster(), closed: closed}
}

// whole hands out a cluster.
func (a *allocator) whole() (off int64) {
	off = a.end
	a.end += a.cluster()
	return off
}

// packed hands out n bytes, less than a cluster, for compressed ones.
func (a *allocator) packed(n int64) (off int64) {
	room := a.clusters(a.free)<<a.clusterBits - a.free
	fits := a.free+room == a.end || n <= room
	if !fits || a.references == math.MaxUint16 {
		a.free = a.end
	}
	off = a.free
	a.free += n
	a.end = max(a.end, a.clusters(a.free)<<a.clusterBits)
	a.refer(off >> a.clusterBits)
	if last := (a.free - 1) >> a.clusterBits; last != a.filled {
		a.refer(last)
	}
	return off
}

func (a *allocator) refer(cluster int64) {
	if cluster != a.filled {
		a.close()
		a.filled, a.references = cluster, 0
	}
	a.references++
}

// close reports the last cluster with compressed bytes.
func (a *allocator) close() {
	if a.references > 0 {
		a.closed(a.filled, a.references)
	}
	a.references = 0
}
