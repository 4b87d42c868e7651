package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/tree"
)

// numbers gives out the inode numbers of a mount. A thing has the same number for as long as the
// kernel, or a listing, remembers it. A number stands for one thing only, for as long as the tree
// is mounted: numbers come from a counter and are never given out again.
//
// The kernel forgets the inode of a control file at each close. A program that looks at the file,
// opens it and compares the numbers must find one number, so the last ones that were forgotten are
// kept for a while.
//
// The count of a number is the number of times that it was given to the kernel and not taken back
// yet. The kernel takes back by node ID, which the FUSE library makes, so the table knows the
// number of each node ID, too.
type numbers struct {
	mu     sync.Mutex // guards the following
	last   uint64
	byKey  map[tree.Key]*number
	byIno  map[uint64]*number
	byNode map[uint64]*nodeID
	idle   []*number // numbers whose count fell to 0, the oldest first
}

// maxIdle is how many numbers are kept that the kernel has forgotten.
const maxIdle = 1024

type number struct {
	key   tree.Key
	ino   uint64
	count uint64
}

// nodeID stands for one inode of the kernel: how often the kernel was given it, and its number.
type nodeID struct {
	of    *number
	count uint64
}

// rootIno is the number of the tree's root, which the kernel never forgets.
const rootIno = fuse.FUSE_ROOT_ID

func newNumbers() *numbers {
	return &numbers{
		last:   rootIno,
		byKey:  map[tree.Key]*number{},
		byIno:  map[uint64]*number{},
		byNode: map[uint64]*nodeID{},
	}
}

// take returns the number of a thing and counts it once; release, or the kernel's forgetting, takes
// that back.
func (t *numbers) take(key tree.Key) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byKey[key]
	if n == nil {
		t.last++
		n = &number{key: key, ino: t.last}
		t.byKey[key], t.byIno[n.ino] = n, n
	}
	n.count++
	return n.ino
}

// release takes back one take that did not reach the kernel.
func (t *numbers) release(ino uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(t.byIno[ino], 1)
}

// given notes that the kernel was given a node, with a number that was taken for it.
func (t *numbers) given(node, ino uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.byNode[node]
	if id == nil {
		id = &nodeID{of: t.byIno[ino]}
		t.byNode[node] = id
	}
	id.count++
}

// forgotten notes that the kernel forgot a node that it was given n times.
func (t *numbers) forgotten(node, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.byNode[node]
	if id == nil {
		return // the root, which was not taken
	}
	n = min(n, id.count)
	if id.count -= n; id.count == 0 {
		delete(t.byNode, node)
	}
	t.drop(id.of, n)
}

// drop takes n counts from a number. A number without counts is freed after maxIdle others. The
// caller holds mu.
func (t *numbers) drop(of *number, n uint64) {
	if of.count -= n; of.count > 0 {
		return
	}
	t.idle = append(t.idle, of)
	if len(t.idle) <= maxIdle {
		return
	}
	oldest := t.idle[0]
	t.idle = t.idle[1:]
	if oldest.count == 0 && t.byKey[oldest.key] == oldest {
		delete(t.byKey, oldest.key)
		delete(t.byIno, oldest.ino)
	}
}

// counted passes requests on to the FUSE library's tree and counts the nodes that the kernel is
// given and forgets.
type counted struct {
	fuse.RawFileSystem
	numbers *numbers
}

func (c counted) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	status := c.RawFileSystem.Lookup(cancel, in, name, out)
	if status == fuse.OK && out.NodeId > rootIno {
		c.numbers.given(out.NodeId, out.Ino)
	}
	return status
}

func (c counted) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	status := c.RawFileSystem.Create(cancel, in, name, out)
	if status == fuse.OK {
		c.numbers.given(out.NodeId, out.Ino)
	}
	return status
}

func (c counted) Forget(node, n uint64) {
	c.RawFileSystem.Forget(node, n)
	c.numbers.forgotten(node, n)
}
