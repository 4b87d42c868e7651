package qcow2

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// mismatch is a run of clusters whose refcount is not the number of references to them.
type mismatch struct {
	first, n        int64
	stored, counted uint64
}

// compare reports the clusters of the window whose refcounts are wrong, and those that are used
// twice.
func (c *checker) compare(ctx context.Context) error {
	var run mismatch
	for _, key := range c.occupied() {
		chunk := c.refs.chunks[key]
		for i := range int64(chunkClusters) {
			cluster := key*chunkClusters + i
			if cluster < c.refs.start || cluster >= c.refs.end {
				continue
			}
			var cell uint32
			if chunk != nil {
				cell = chunk[i]
			}
			c.overlap(cluster, cell)
			stored, known, err := c.stored.get(ctx, cluster)
			if err != nil {
				return err
			}
			counted := uint64(cell & useCount)
			if !known || stored == counted {
				continue
			}
			if run.n > 0 && run.first+run.n == cluster && run.stored == stored && run.counted == counted {
				run.n++
				continue
			}
			c.mismatch(run)
			run = mismatch{cluster, 1, stored, counted}
		}
	}
	c.mismatch(run)
	return nil
}

// occupied lists the chunks of the window that have a count or may have a stored refcount.
func (c *checker) occupied() []int64 {
	keys := map[int64]bool{}
	for key := range c.refs.chunks {
		keys[key] = true
	}
	per := c.stored.perBlock()
	for i := range c.stored.entries() {
		if _, ok := c.stored.block(i); !ok {
			continue
		}
		from, to := max(i*per, c.refs.start), min((i+1)*per, c.refs.end)
		for key := from / chunkClusters; key*chunkClusters < to; key++ {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func (c *checker) mismatch(m mismatch) {
	if m.n == 0 {
		return
	}
	what := "the cluster has"
	if m.n > 1 {
		what = fmt.Sprintf("%d clusters have", m.n)
	}
	c.Add(formats.Problem{
		Off:  m.first << c.clusterBits,
		Text: fmt.Sprintf("%s refcount %d and %s", what, m.stored, references(m.counted)),
		Leak: m.stored > m.counted,
	})
}

func references(n uint64) string {
	if n == 1 {
		return "1 reference"
	}
	return fmt.Sprintf("%d references", n)
}

// overlap reports a cluster with two uses that cannot share it.
func (c *checker) overlap(cluster int64, cell uint32) {
	switch {
	case bits.OnesCount32(cell&^useCount) > 1:
		var uses string
		for _, use := range []struct {
			bit  uint32
			name string
		}{{useMeta, "the header or a table"}, {useL2, "an L2 table"}, {useData, "data"}} {
			if cell&use.bit != 0 && uses != "" {
				uses += " and "
			}
			if cell&use.bit != 0 {
				uses += use.name
			}
		}
		c.Damage(cluster<<c.clusterBits, "the cluster is used for %s", uses)
	case cell&useMeta != 0 && cell&useCount > 1:
		c.Damage(cluster<<c.clusterBits, "the cluster is used for %d tables, or for the header, too", cell&useCount)
	}
}
