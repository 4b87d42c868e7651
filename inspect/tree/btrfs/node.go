package btrfs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/imsfs/imsfs/inspect/disk"
)

// key orders the items of a tree.
type key struct {
	object uint64
	kind   byte
	offset uint64
}

func parseKey(b []byte) key { return key{le.Uint64(b), b[8], le.Uint64(b[9:])} }

func (k key) compare(o key) int {
	switch {
	case k.object != o.object:
		return order(k.object < o.object)
	case k.kind != o.kind:
		return order(k.kind < o.kind)
	case k.offset != o.offset:
		return order(k.offset < o.offset)
	}
	return 0
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// chunk maps logical addresses to the places of its copies on this device.
type chunk struct {
	logical, length int64
	copies          []int64
	profile         uint64
}

// Profiles that spread the bytes of a chunk.
const spread = 1<<3 | 1<<6 | 1<<7 | 1<<8

const maxChunks = 1 << 16

func (f *fileSystem) addChunk(k key, b []byte) error {
	place := fmt.Sprintf("chunk %d", k.offset)
	if len(b) < 48 || len(b) < 48+32*int(le.Uint16(b[44:])) {
		return disk.Corrupt(name, place, "the item has only %d bytes", len(b))
	}
	c := chunk{logical: int64(k.offset), length: int64(le.Uint64(b)), profile: le.Uint64(b[24:])}
	if c.logical < 0 || c.length <= 0 || c.logical+c.length < 0 {
		return disk.Corrupt(name, place, "a length of %d", c.length)
	}
	stripes := int(le.Uint16(b[44:]))
	for i := range stripes {
		stripe := b[48+32*i:]
		if off := int64(le.Uint64(stripe[8:])); le.Uint64(stripe) == f.super.device && disk.Within(off, c.length, f.src.Size()) {
			c.copies = append(c.copies, off)
		}
	}
	if c.profile&spread != 0 && stripes > 1 {
		c.copies = nil
	}
	i, there := slices.BinarySearchFunc(f.chunks, c.logical, func(c chunk, l int64) int { return order2(c.logical, l) })
	if there {
		f.chunks[i] = c
		return nil
	}
	if len(f.chunks) == maxChunks {
		return disk.Unsupported(name, "more than %d chunks", maxChunks)
	}
	f.chunks = slices.Insert(f.chunks, i, c)
	return nil
}

func order2(a, b int64) int {
	if a == b {
		return 0
	}
	return order(a < b)
}

// readChunks takes the chunks of the superblock, then those of the chunk tree.
func (f *fileSystem) readChunks(ctx context.Context) error {
	b := f.super.raw[811:]
	b = b[:min(int(le.Uint32(f.super.raw[160:])), 2048)]
	for len(b) >= 17+48 {
		size := 17 + 48 + 32*int(le.Uint16(b[17+44:]))
		if size > len(b) {
			return disk.Corrupt(name, "superblock", "a system chunk ends after the array")
		}
		if err := f.addChunk(parseKey(b), b[17:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	r := root{int64(le.Uint64(f.super.raw[88:])), int(f.super.raw[199]), le.Uint64(f.super.raw[164:])}
	return f.scan(ctx, r, key{256, kindChunk, 0}, func(k key, b []byte) (bool, error) {
		if k.kind != kindChunk {
			return k.object <= 256, nil
		}
		return true, f.addChunk(k, b)
	})
}

// place returns the chunk of a logical address and how many bytes of it follow.
func (f *fileSystem) place(logical int64) (chunk, int64, error) {
	i := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i].logical > logical }) - 1
	if i < 0 || logical-f.chunks[i].logical >= f.chunks[i].length {
		return chunk{}, 0, disk.Corrupt(name, "chunk tree", "no chunk has address %d", logical)
	}
	c := f.chunks[i]
	if len(c.copies) == 0 {
		return c, 0, disk.Unsupported(name, "chunk %d of profile 0x%x with no whole copy on this device", c.logical, c.profile&^7)
	}
	return c, c.length - (logical - c.logical), nil
}

// node is a verified node of a tree. It does not change.
type node struct {
	raw   []byte
	level int
	count int
}

const (
	headerSize  = 101
	itemSize    = 25
	pointerSize = 33
	maxLevel    = 7
	keptNodes   = 64 // 4 MiB of the largest
)

func (n *node) step() int {
	if n.level == 0 {
		return itemSize
	}
	return pointerSize
}

func (n *node) key(i int) key { return parseKey(n.raw[headerSize+i*n.step():]) }

// item returns the bytes of an item of a leaf, whose place was checked.
func (n *node) item(i int) []byte {
	b := n.raw[headerSize+i*itemSize+17:]
	off := headerSize + int(le.Uint32(b))
	return n.raw[off : off+int(le.Uint32(b[4:]))]
}

// child returns the reference in a pointer.
func (n *node) child(i int) root {
	b := n.raw[headerSize+i*pointerSize+17:]
	return root{int64(le.Uint64(b)), n.level - 1, le.Uint64(b[8:])}
}

// root is a reference to a node: where it is, and the level and generation that it must have.
type root struct {
	logical    int64
	level      int
	generation uint64
}

// read returns the node that r refers to, from the first copy that is sound.
func (f *fileSystem) read(ctx context.Context, r root) (*node, error) {
	f.mu.Lock()
	n := f.nodes[r.logical]
	f.mu.Unlock()
	if n != nil && n.level == r.level && n.generation() == r.generation {
		return n, ctx.Err()
	}
	c, room, err := f.place(r.logical)
	if err != nil {
		return nil, err
	}
	if room < f.super.nodeSize || r.level > maxLevel {
		return nil, disk.Corrupt(name, nodePlace(r), "it ends after its chunk, or its level is over %d", maxLevel)
	}
	var failed error
	for _, copyAt := range c.copies {
		raw := make([]byte, f.super.nodeSize)
		if err := f.src.ReadMeta(ctx, raw, copyAt+r.logical-c.logical); err != nil {
			return nil, err
		}
		n, err := f.verify(raw, r)
		if err == nil {
			f.keep(r.logical, n)
			return n, nil
		}
		failed = err
	}
	return nil, failed
}

func (n *node) generation() uint64 { return le.Uint64(n.raw[80:]) }

func nodePlace(r root) string { return fmt.Sprintf("tree node %d", r.logical) }

// keep holds a node for the next search, and drops any other if there are too many.
func (f *fileSystem) keep(logical int64, n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for old := range f.nodes {
		if len(f.nodes) < keptNodes {
			break
		}
		delete(f.nodes, old)
	}
	f.nodes[logical] = n
}

// verify checks all that a search relies on: sums, references, order of keys, places of items.
func (f *fileSystem) verify(raw []byte, r root) (*node, error) {
	n := &node{raw: raw, level: int(raw[100]), count: int(le.Uint32(raw[96:]))}
	if !f.driver.unchecked && !bytes.HasPrefix(raw, checksum(f.super.sumType, raw[32:])) {
		return nil, disk.Corrupt(name, nodePlace(r), "the checksum is wrong")
	}
	switch {
	case [16]byte(raw[32:]) != f.super.metaID:
		return nil, disk.Corrupt(name, nodePlace(r), "it is of another file system")
	case int64(le.Uint64(raw[48:])) != r.logical:
		return nil, disk.Corrupt(name, nodePlace(r), "its own address is %d", le.Uint64(raw[48:]))
	case n.level != r.level || n.generation() != r.generation:
		return nil, disk.Corrupt(name, nodePlace(r), "level %d and generation %d: the reference has %d and %d", n.level,
			n.generation(), r.level, r.generation)
	case n.count < 0 || n.count > (len(raw)-headerSize)/n.step() || n.count == 0 && n.level > 0:
		return nil, disk.Corrupt(name, nodePlace(r), "%d items in %d bytes", n.count, len(raw))
	}
	for i := range n.count {
		if i > 0 && n.key(i).compare(n.key(i-1)) <= 0 {
			return nil, disk.Corrupt(name, nodePlace(r), "the key of item %d does not rise", i)
		}
		if b := raw[headerSize+i*n.step()+17:]; n.level == 0 {
			off, size := int64(le.Uint32(b)), int64(le.Uint32(b[4:]))
			if headerSize+off+size > int64(len(raw)) {
				return nil, disk.Corrupt(name, nodePlace(r), "item %d is at [%d, +%d)", i, off, size)
			}
		}
	}
	return n, nil
}

// cursor is a place in a tree.
type cursor struct {
	f    *fileSystem
	path []step // from the root down to a leaf
}

type step struct {
	node *node
	slot int
}

// find returns a cursor at the last item whose key is at most k; at the first item if there is
// none.
func (f *fileSystem) find(ctx context.Context, r root, k key) (*cursor, error) {
	c := &cursor{f: f}
	return c, c.descend(ctx, r, k)
}

func (c *cursor) descend(ctx context.Context, r root, k key) error {
	for {
		n, err := c.f.read(ctx, r)
		if err != nil {
			return err
		}
		if len(c.path) > 0 && n.count > 0 {
			if up := c.path[len(c.path)-1]; n.key(0).compare(up.node.key(up.slot)) != 0 {
				return disk.Corrupt(name, nodePlace(r), "its first key is not that of the reference")
			}
		}
		slot := sort.Search(n.count, func(i int) bool { return n.key(i).compare(k) > 0 })
		slot = max(0, slot-1)
		c.path = append(c.path, step{n, slot})
		if n.level == 0 {
			return nil
		}
		r = n.child(slot)
	}
}

// item returns the item at the cursor; ok is false past the last one.
func (c *cursor) item() (k key, b []byte, ok bool) {
	if len(c.path) == 0 {
		return k, nil, false
	}
	leaf := c.path[len(c.path)-1]
	if leaf.slot >= leaf.node.count {
		return k, nil, false
	}
	return leaf.node.key(leaf.slot), leaf.node.item(leaf.slot), true
}

// next goes to the next item.
func (c *cursor) next(ctx context.Context) error {
	last, _, ok := c.item()
	for i := len(c.path) - 1; ok && i >= 0; i-- {
		s := &c.path[i]
		if s.slot++; s.slot < s.node.count {
			c.path = c.path[:i+1]
			if s.node.level == 0 {
				return nil
			}
			if s.node.key(s.slot).compare(last) <= 0 {
				return disk.Corrupt(name, "tree", "the key after object %d does not rise", last.object)
			}
			return c.descend(ctx, s.node.child(s.slot), key{})
		}
	}
	c.path = nil
	return nil
}

// scan calls fn for the items from k on, until it returns false.
func (f *fileSystem) scan(ctx context.Context, r root, k key, fn func(key, []byte) (bool, error)) error {
	c, err := f.find(ctx, r, k)
	for err == nil {
		at, b, ok := c.item()
		if !ok {
			return nil
		}
		if at.compare(k) >= 0 {
			if more, err := fn(at, b); err != nil || !more {
				return err
			}
		}
		err = c.next(ctx)
	}
	return err
}

// get returns the item of a key.
func (f *fileSystem) get(ctx context.Context, r root, k key) (b []byte, ok bool, err error) {
	c, err := f.find(ctx, r, k)
	if err != nil {
		return nil, false, err
	}
	at, b, ok := c.item()
	return b, ok && at == k, nil
}
