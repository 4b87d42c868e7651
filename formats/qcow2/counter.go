package qcow2

import (
	"maps"
	"slices"
)

// Uses of a cluster, beside the number of references to it.
const (
	useMeta  = 1 << 31 // header, L1 table, refcounts, snapshot table, bitmaps: one reference only
	useL2    = 1 << 30
	useData  = 1 << 29
	useCount = useData - 1
)

const (
	chunkClusters = 4096
	maxChunks     = 4096 // 64 MiB
)

// counter counts references to the clusters in a window of the file. The window begins with all of
// the remaining file and shrinks when the references take too much memory. The part after its end
// is for another pass.
type counter struct {
	start, end int64 // clusters
	chunks     map[int64]*[chunkClusters]uint32
	limit      int // of chunks
}

func newCounter(start, end int64) *counter {
	return &counter{start, end, map[int64]*[chunkClusters]uint32{}, maxChunks}
}

// add counts n references to a cluster.
func (c *counter) add(cluster int64, use, n uint32) {
	if cluster < c.start || cluster >= c.end {
		return
	}
	key := cluster / chunkClusters
	chunk := c.chunks[key]
	if chunk == nil {
		if len(c.chunks) == c.limit {
			c.shrink()
			c.add(cluster, use, n)
			return
		}
		chunk = new([chunkClusters]uint32)
		c.chunks[key] = chunk
	}
	cell := &chunk[cluster%chunkClusters]
	*cell = *cell&^useCount | use | min(*cell&useCount+n, useCount)
}

// shrink gives up the upper half of the counts.
func (c *counter) shrink() {
	keys := slices.Sorted(maps.Keys(c.chunks))
	for _, key := range keys[len(keys)/2:] {
		delete(c.chunks, key)
	}
	c.end = keys[len(keys)/2] * chunkClusters
}

// sweep calls visit for each piece of the file that lies in the same extents, with their number, in
// ascending order.
func sweep(extents []extent, visit func(piece extent, n uint32) error) error {
	type edge struct {
		off   int64
		delta int
	}
	var edges []edge
	for _, e := range extents {
		if e.n > 0 { // an empty one may be anywhere, even within an entry of another
			edges = append(edges, edge{e.off, 1}, edge{e.off + e.n, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return int(min(max(a.off-b.off, -1), 1)) })
	depth := 0
	for i, e := range edges {
		if depth > 0 && e.off > edges[i-1].off {
			if err := visit(extent{edges[i-1].off, e.off - edges[i-1].off}, uint32(depth)); err != nil {
				return err
			}
		}
		depth += e.delta
	}
	return nil
}
