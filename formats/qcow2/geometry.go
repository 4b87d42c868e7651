package qcow2

// geometry is how a disk's bytes are divided among tables, clusters and subclusters. It only
// computes.
type geometry struct {
	version     uint32
	clusterBits uint
	extended    bool // L2 entries have a bitmap of subclusters
	dataFile    bool // clusters lie in another file, where one may be at 0
	entryBits   uint // of an L2 entry's size
	l2Bits      uint // of the number of entries in an L2 table
}

// subclusters of a cluster. Without extended L2 entries all are in one state.
const (
	subclusterBits = 5
	subclusters    = 1 << subclusterBits
)

func newGeometry(version, clusterBits uint32, extended bool) geometry {
	g := geometry{version: version, clusterBits: uint(clusterBits), extended: extended, entryBits: 3}
	if extended {
		g.entryBits = 4
	}
	g.l2Bits = g.clusterBits - g.entryBits
	return g
}

// cluster is the size of a cluster, and of an L2 table.
func (g *geometry) cluster() int64 { return 1 << g.clusterBits }

// subcluster is the size of a subcluster.
func (g *geometry) subcluster() int64 { return 1 << (g.clusterBits - subclusterBits) }

// l2Span is how many bytes of the disk an L2 table describes: at most 2^39.
func (g *geometry) l2Span() int64 { return 1 << (g.clusterBits + g.l2Bits) }

// l1Entries is the number of L1 entries for a disk of size bytes.
func (g *geometry) l1Entries(size int64) int64 { return (size + g.l2Span() - 1) / g.l2Span() }

// l1Index is the number of the L1 entry for a byte of the disk.
func (g *geometry) l1Index(off int64) int64 { return off / g.l2Span() }

// l2Offset is the place of an entry in its L2 table, for a byte of the disk.
func (g *geometry) l2Offset(off int64) int64 {
	return off % g.l2Span() >> g.clusterBits << g.entryBits
}

// pageSize is how much of an L2 table is read at once.
func (g *geometry) pageSize() int64 { return min(g.cluster(), tablePage) }

// pageSpan is how many bytes of the disk a page of an L2 table describes.
func (g *geometry) pageSpan() int64 { return g.pageSize() >> g.entryBits << g.clusterBits }

// tablePage is the unit in which large tables are read.
const tablePage = 64 << 10
