package fs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/tree"
)

// kernel is what a model of the kernel remembers: how often it was told of each node, and the
// number and the key of the node then.
type kernel struct {
	t       *testing.T
	numbers *numbers
	nodes   map[uint64]*remembered // by node ID
	shown   map[tree.Key]int       // how many node IDs have this key
	ever    map[uint64]tree.Key    // every number that was given out
	last    uint64                 // node ID
}

type remembered struct {
	key        tree.Key
	ino, count uint64
}

// lookUp is told of a thing: of the node it knows already or, as with control files, of a new one.
func (k *kernel) lookUp(key tree.Key, node uint64) {
	ino := k.numbers.take(key)
	if old, ok := k.ever[ino]; ok && old != key {
		k.t.Fatalf("the number %d stands for %q and stood for %q", ino, key, old)
	}
	k.ever[ino] = key
	n := k.nodes[node]
	if n == nil {
		n = &remembered{key: key, ino: ino}
		k.nodes[node] = n
		k.shown[key]++
	}
	if n.ino != ino {
		k.t.Fatalf("%q has the number %d, and the kernel remembers %d", key, ino, n.ino)
	}
	n.count++
	k.numbers.given(node, ino)
}

func (k *kernel) forget(node, n uint64) {
	r := k.nodes[node]
	k.numbers.forgotten(node, n)
	if r.count -= n; r.count > 0 {
		return
	}
	delete(k.nodes, node)
	if k.shown[r.key]--; k.shown[r.key] == 0 {
		delete(k.shown, r.key)
	}
}

// A million look-ups and forgets of ten thousand things, in any order: no number stands for two
// things, ever; a thing keeps its number while it is remembered; what is forgotten takes no memory.
func TestNumbersStandForOneThing(t *testing.T) {
	const steps, things = 1_000_000, 10_000
	k := &kernel{t, newNumbers(), map[uint64]*remembered{}, map[tree.Key]int{}, map[uint64]tree.Key{}, rootIno}
	rng := rand.New(rand.NewPCG(11, 12))
	var known []uint64               // node IDs, some of them forgotten
	current := map[tree.Key]uint64{} // the node ID of a thing
	for step := range steps {
		if step%3 == 2 && len(known) > 0 {
			at := rng.IntN(len(known))
			if r := k.nodes[known[at]]; r != nil {
				k.forget(known[at], 1+rng.Uint64N(r.count))
			}
			if k.nodes[known[at]] == nil {
				known[at] = known[len(known)-1]
				known = known[:len(known)-1]
			}
			continue
		}
		n := rng.IntN(things)
		key := tree.Key("/" + strconv.Itoa(n))
		node := current[key]
		if control := n%10 == 0; control || k.nodes[node] == nil {
			k.last++
			node = k.last
			current[key] = node
			known = append(known, node)
		}
		k.lookUp(key, node)
	}
	checkTable(t, k)
	for node, r := range k.nodes {
		k.forget(node, r.count)
	}
	checkTable(t, k)
}

// checkTable checks that the table has what the kernel remembers, and a few numbers more.
func checkTable(t *testing.T, k *kernel) {
	t.Helper()
	got, want := len(k.numbers.byKey), len(k.shown)
	if got < want || got > want+maxIdle || len(k.numbers.byIno) != got || len(k.numbers.byNode) != len(k.nodes) {
		t.Errorf("the table has %d things, %d numbers and %d nodes; the kernel %d things and %d nodes",
			got, len(k.numbers.byIno), len(k.numbers.byNode), want, len(k.nodes))
	}
	for key := range k.shown {
		if k.numbers.byKey[key] == nil {
			t.Errorf("the table has lost %q, which the kernel remembers", key)
		}
	}
}

// The real kernel looks up and forgets, from many processes' threads at once.
func TestNumbersUnderAMount(t *testing.T) {
	const dirs, files = 20, 50
	all := nodes{}
	for d := range dirs {
		sub := nodes{}
		for f := range files {
			sub[fmt.Sprint("file", f)] = emptyText(tree.Key(fmt.Sprintf("/%d/%d", d, f)))
		}
		sub["ctl"] = tree.Control{Thing: is(tree.Key(fmt.Sprintf("/%d/ctl", d))), Commander: &clerk{}}
		all[fmt.Sprint("dir", d)] = sub.dir(tree.Key(fmt.Sprintf("/%d", d)))
	}
	root := all.dir("")
	s := mountDir(t, Config{}, root)
	var mu sync.Mutex
	seen := map[uint64]string{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 5))
			for range 2000 {
				path := filepath.Join(s.mountpoint, fmt.Sprint("dir", rng.IntN(dirs)), fmt.Sprint("file", rng.IntN(files)))
				if rng.IntN(10) == 0 {
					path = filepath.Join(filepath.Dir(path), "ctl")
				}
				var st unix.Stat_t
				if err := unix.Stat(path, &st); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other, ok := seen[st.Ino]; ok && other != path {
					t.Errorf("%s and %s have the number %d", path, other, st.Ino)
				}
				seen[st.Ino] = path
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// ls -i, find -inum and programs that compare a listing with a stat need the same numbers in both.
func TestListingHasTheNumbersOfTheFiles(t *testing.T) {
	at := mount(t, Config{}, nodes{"a": emptyText("/a"), "b": emptyText("/b"), "ctl": tree.Control{Thing: is("/ctl"), Commander: &clerk{}}})
	d, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	listed := direntNumbers(t, d)
	if len(listed) != 3 {
		t.Errorf("the listing has %v", listed)
	}
	for range 2 {
		for name, ino := range listed {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(at, name), &st); err != nil || st.Ino != ino {
				t.Errorf("%s is listed with the number %d and has %d, %v", name, ino, st.Ino, err)
			}
		}
		if _, err := d.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		again := direntNumbers(t, d)
		if fmt.Sprint(again) != fmt.Sprint(listed) {
			t.Errorf("rewound, the listing has %v, and had %v", again, listed)
		}
	}
}

// direntNumbers reads a directory with the system call, because package os leaves the numbers out.
func direntNumbers(t *testing.T, d *os.File) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(int(d.Fd()), buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return found
		}
		for at := 0; at < n; {
			length := int(buf[at+16]) | int(buf[at+17])<<8
			var ino uint64
			for i := range 8 {
				ino |= uint64(buf[at+i]) << (8 * i)
			}
			name := buf[at+19 : at+length]
			found[unix.ByteSliceToString(name)] = ino
			at += length
		}
	}
}

// Programs that copy a file compare the inode that they looked at with the one that they opened.
func TestControlFileKeepsItsNumber(t *testing.T) {
	at := mount(t, Config{}, nodes{"ctl": tree.Control{Thing: is("/ctl"), Commander: &clerk{}}})
	for range 100 {
		var before, opened unix.Stat_t
		if err := unix.Stat(filepath.Join(at, "ctl"), &before); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(at, "ctl"))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Fstat(int(f.Fd()), &opened); err != nil || opened.Ino != before.Ino {
			t.Fatalf("looked at it is %d, opened %d, %v", before.Ino, opened.Ino, err)
		}
		f.Close()
	}
}

// Each look-up of a control file makes an inode. The kernel forgets it when the file is closed.
func TestInodesOfControlFilesAreForgotten(t *testing.T) {
	s := mountDir(t, Config{}, nodes{"ctl": tree.Control{Thing: is("/ctl"), Commander: &clerk{}}}.dir(""))
	ctl := filepath.Join(s.mountpoint, "ctl")
	for range 1000 {
		f, err := os.OpenFile(ctl, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	left := func() int {
		s.nodes.numbers.mu.Lock()
		defer s.nodes.numbers.mu.Unlock()
		return len(s.nodes.numbers.byNode)
	}
	for deadline := time.Now().Add(10 * time.Second); left() > 2; { // the last one, and one on its way
		if time.Now().After(deadline) {
			t.Fatalf("the kernel remembers %d inodes of one control file", left())
		}
		if err := unix.Stat(ctl, &unix.Stat_t{}); err != nil {
			t.Fatal(err)
		}
	}
}
