package packs

import (
	"slices"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

// TestExcess shows when a trim starts and when it stops.
func TestExcess(t *testing.T) {
	const limit, floor, ample = 1600, 160, 1 << 40
	for _, row := range []struct {
		name       string
		used, free int64
		limit      int64
		begun      bool
		want       int64
	}{
		{"a sixteenth of the limit is left: no start", 1500, ample, limit, false, 0},
		{"less than a sixteenth is left: start", 1501, ample, limit, false, 1},
		{"begun, an eighth is left: stop", 1400, ample, limit, true, 0},
		{"begun, a sixteenth is left: go on", 1500, ample, limit, true, 100},
		{"a sixteenth above the floor is free: no start", 0, 170, limit, false, 0},
		{"less than that is free: start", 0, 169, limit, false, 1},
		{"begun, an eighth above the floor is free: stop", 0, 180, limit, true, 0},
		{"begun, the floor is free: go on", 0, 160, limit, true, 20},
		{"both limits are near: the larger excess", 1600, 160, limit, true, 200},
		{"unlimited: only the floor counts", 1 << 40, 150, 0, false, 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := excess(row.used, row.free, row.limit, floor, row.begun)
			if row.want == 0 && got <= 0 {
				return
			}
			if got != row.want {
				t.Errorf("excess %d, want %d", got, row.want)
			}
		})
	}
}

// TestOldest shows which segments a trim evicts first.
func TestOldest(t *testing.T) {
	const blockSize = 100
	candidates := []candidate{
		{place{1, 0}, 30, 2},
		{place{2, 5}, 10, 3},
		{place{1, 1}, 20, 1},
		{place{3, 0}, 0, 4}, // its use was never recorded
	}
	order := []place{{3, 0}, {2, 5}, {1, 1}, {1, 0}}
	for _, row := range []struct {
		name  string
		bytes int64
		want  int
	}{
		{"nothing to free: none", 0, 0},
		{"within the limits: none", -1, 0},
		{"a byte: the one used longest ago", 1, 1},
		{"as much as it has: only that one", 400, 1},
		{"a byte more: the next one too", 401, 2},
		{"more of another disk: any disk's, by use", 701, 3},
		{"more than there is: all", 1 << 40, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := oldest(slices.Clone(candidates), blockSize, row.bytes)
			if !slices.Equal(got, order[:row.want]) {
				t.Errorf("evicted %v, want %v", got, order[:row.want])
			}
		})
	}
	t.Run("blocks of no known size: a byte each segment", func(t *testing.T) {
		if got := oldest(slices.Clone(candidates), 0, 2); !slices.Equal(got, order[:2]) {
			t.Errorf("evicted %v, want %v", got, order[:2])
		}
	})
}

// TestThin shows which packs a compaction empties.
func TestThin(t *testing.T) {
	for _, row := range []struct {
		name         string
		live, length int64
		want         bool
	}{
		{"full", 1000, 1000, false},
		{"half full", 500, 1000, false},
		{"less than half full", 499, 1000, true},
		{"without a live record", 0, 1000, true},
		{"without a live record, odd length", 0, 3, true},
		{"empty file", 0, 0, false},
		{"shorter than its records", 1000, 10, false}, // a read of them finds the damage
	} {
		t.Run(row.name, func(t *testing.T) {
			got := thin([]fill{{7, row.live, row.length}})
			if thin := slices.Equal(got, []uint32{7}); thin != row.want {
				t.Errorf("thin: %v, want %v", thin, row.want)
			}
		})
	}
	t.Run("several, in their order", func(t *testing.T) {
		got := thin([]fill{{1, 10, 1000}, {2, 900, 1000}, {4, 20, 1000}})
		if !slices.Equal(got, []uint32{1, 4}) {
			t.Errorf("packs %v, want 1 and 4", got)
		}
	})
}

// TestThinPacksLeavesOutTheTail drops every record of a store of several packs.
func TestThinPacksLeavesOutTheTail(t *testing.T) {
	s := openIn(t, t.TempDir(), small)
	const size = 120 * blockstore.BlockSize
	must(t, s.Create(1, size, ""))
	must(t, s.Save(t.Context(), 1, 0, random(0, 120)))
	packs, err := s.files.list()
	if err != nil || len(packs) < 3 {
		t.Fatalf("packs %v, %v: want several", packs, err)
	}
	var entries []indexed
	must(t, s.eachIndexed(func(e indexed) { entries = append(entries, e) }))
	s.writer.Lock()
	err = s.change(func(b *batch) error {
		for _, e := range entries {
			if err := b.drop(e.kind, e.id); err != nil {
				return err
			}
		}
		b.freed = nil // the packs keep their length
		return nil
	})
	s.writer.Unlock()
	must(t, err)
	got, err := s.thinPacks()
	if err != nil || !slices.Equal(got, packs[:len(packs)-1]) {
		t.Errorf("thin packs %v, %v, want all but the last of %v", got, err, packs)
	}
}

// TestQueueBatch shows which requests one commit takes.
func TestQueueBatch(t *testing.T) {
	data := func(first int64, n int) *request {
		r := &request{first: first, blocks: make([]prepared, n)}
		for i := range r.blocks {
			r.blocks[i].entry.State = blockstore.Data
		}
		return r
	}
	zeros := func(segments int) *request {
		return &request{blocks: make([]prepared, segments*blockstore.SegmentBlocks)}
	}
	for _, row := range []struct {
		name    string
		waiting []*request
		want    []int // sizes of the batches until the queue is empty
	}{
		{"no request: an empty batch", nil, []int{0}},
		{"all that fit, in one", []*request{data(0, 128), data(0, 128), data(0, 256)}, []int{3}},
		{"a block too many waits", []*request{data(0, 256), data(0, 256), data(0, 1)}, []int{2, 1}},
		{"a small one does not overtake", []*request{data(0, 500), data(0, 13), data(0, 1)}, []int{1, 2}},
		{"one over the limit is taken alone", []*request{data(0, 600), data(0, 1)}, []int{1, 1}},
		{"zeros count as segments", []*request{zeros(32), zeros(32), zeros(1)}, []int{2, 1}},
		{"a request across a border has two segments", []*request{zeros(63), data(255, 2)}, []int{1, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var q queue
			for _, r := range row.waiting {
				q.add(r)
			}
			rest := row.waiting
			for i, n := range row.want {
				if got := q.batch(); !slices.Equal(got, rest[:n]) {
					t.Fatalf("batch %d has %d requests, want the first %d of those left", i, len(got), n)
				}
				rest = rest[n:]
			}
			if len(q.waiting) != 0 {
				t.Errorf("%d requests are left", len(q.waiting))
			}
		})
	}
}

// TestBatchGroups shows the order of a batch's changes: a kill between two groups must leave no map
// that names a missing segment, and no segment that names a missing block.
func TestBatchGroups(t *testing.T) {
	set := func(key string) op { return op{[]byte(key), []byte{1}} }
	index := []op{set("block/a"), set("block/b")}
	shared := []op{set("segment/a"), set("segment/b")}
	mapped := [][]op{{set("map/1"), set("count/1")}, {set("map/2"), set("count/2")}}
	for _, row := range []struct {
		name  string
		batch batch
		want  [][]string
	}{
		{"nothing", batch{}, nil},
		{"index entries, with the tail, in one group", batch{index: index},
			[][]string{{tailKey, "block/a", "block/b"}}},
		{"shared segments, one by one", batch{shared: shared}, [][]string{{"segment/a"}, {"segment/b"}}},
		{"a map segment with its counts", batch{maps: mapped},
			[][]string{{"map/1", "count/1"}, {"map/2", "count/2"}}},
		{"blocks, then segments, then maps", batch{index: index, shared: shared[:1], maps: mapped[:1]},
			[][]string{{tailKey, "block/a", "block/b"}, {"segment/a"}, {"map/1", "count/1"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.batch.s = &Store{}
			var got [][]string
			for _, group := range row.batch.groups() {
				var keys []string
				for _, o := range group {
					keys = append(keys, string(o.key))
				}
				got = append(got, keys)
			}
			if !slices.EqualFunc(got, row.want, slices.Equal[[]string]) {
				t.Errorf("groups %q, want %q", got, row.want)
			}
		})
	}
}

// TestFitting shows how many groups of changes one transaction takes.
func TestFitting(t *testing.T) {
	group := func(ops, bytes int) []op {
		g := make([]op, ops)
		g[0].value = make([]byte, bytes)
		return g
	}
	for _, row := range []struct {
		name   string
		groups [][]op
		want   int
	}{
		{"one", [][]op{group(1, 0)}, 1},
		{"as many changes as fit", [][]op{group(maxOps-1, 0), group(1, 0)}, 2},
		{"a group is not split", [][]op{group(maxOps-1, 0), group(2, 0)}, 1},
		{"a group over the limit is taken alone", [][]op{group(maxOps+1, 0), group(1, 0)}, 1},
		{"full by bytes", [][]op{group(1, maxTxBytes), group(1, 0)}, 1},
		{"a byte less takes one more",
			[][]op{group(1, maxTxBytes-1), group(1, maxTxBytes), group(1, 0)}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := fitting(row.groups); got != row.want {
				t.Errorf("%d groups, want %d", got, row.want)
			}
		})
	}
}
