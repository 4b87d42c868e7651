package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// exerciser does random operations on a volume's disk and on a flat model in memory, and compares.
type exerciser struct {
	*daemon
	t      *testing.T
	chance *rand.Rand
	file   *os.File
	flags  int    // of the open file
	want   []byte // the disk's bytes
	base   []byte // its bytes after a revert
	buf    []byte // for the largest range, aligned
	number int    // of the operation
	doing  string
}

const (
	exercisedSize = 8*mib + 3*512
	largestRange  = 96 * kib
)

// operations are chosen with a chance of often out of the sum.
var operations = []struct {
	often int
	name  string
	do    func(*exerciser)
}{
	{4000, "read", (*exerciser).readRange},
	{4000, "write", (*exerciser).writeRange},
	{400, "punch", func(e *exerciser) { e.zeroRange(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE) }},
	{400, "zero", func(e *exerciser) { e.zeroRange(unix.FALLOC_FL_ZERO_RANGE) }},
	{400, "map", (*exerciser).mapRange},
	{400, "seek", (*exerciser).seek},
	{100, "truncate", (*exerciser).truncate},
	{100, "sync", func(e *exerciser) { e.check(e.file.Sync()) }},
	{100, "reopen", func(e *exerciser) { e.close(); e.open() }},
	{6, "commit", (*exerciser).commit},
	{6, "revert", (*exerciser).revert},
	{2, "restart", (*exerciser).restart},
}

// steps returns the number of operations, from the environment or the default. It is smaller with
// the race detector, which is slow and sees the races of any operation.
func steps(t *testing.T) int {
	if s := os.Getenv("IMSFS_STEPS"); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	if raceEnabled {
		return 6_000
	}
	return 100_000
}

// TestVolumeExercised does many operations on one volume. IMSFS_SEED repeats a failed run.
func TestVolumeExercised(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("IMSFS_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	p := newPlace(t)
	m := makeModel(t, p.file("base.raw"), exercisedSize-5*512, seed)
	e := &exerciser{t: t, chance: rand.New(rand.NewPCG(seed, 0)), want: make([]byte, exercisedSize), buf: aligned(largestRange), doing: "begin"}
	defer func() {
		if t.Failed() {
			t.Logf("IMSFS_SEED=%d: operation %d, %s", seed, e.number, e.doing)
		}
	}()
	e.daemon = p.serve(t)
	e.register(t, "web", m.path)
	e.run(t, "web", "clone one size="+strconv.Itoa(exercisedSize))
	copy(e.want, readFile(t, m.path))
	e.base = bytes.Clone(e.want)
	e.open()
	for range steps(t) {
		e.step()
	}
	e.doing = "end"
	e.close()
	e.whole(e.volume("one", "disk"))
}

func (e *exerciser) step() {
	e.number++
	at := 0
	for _, d := range operations {
		at += d.often
	}
	at = e.chance.IntN(at)
	for _, d := range operations {
		if at -= d.often; at < 0 {
			e.doing = d.name
			d.do(e)
			return
		}
	}
}

func (e *exerciser) check(err error) {
	e.t.Helper()
	must(e.t, err)
}

func (e *exerciser) open() {
	switch e.chance.IntN(30) {
	case 0:
		e.flags = syscall.O_SYNC
	case 1:
		e.flags = syscall.O_DSYNC | syscall.O_DIRECT
	case 2, 3, 4, 5, 6, 7, 8, 9, 10:
		e.flags = syscall.O_DIRECT
	default:
		e.flags = 0
	}
	var err error
	e.file, err = os.OpenFile(e.volume("one", "disk"), os.O_RDWR|e.flags, 0)
	e.check(err)
}

func (e *exerciser) close() { e.check(e.file.Close()) }

// randomRange returns a random range: mostly small, in whole sectors for O_DIRECT, and often at the
// disk's end.
func (e *exerciser) randomRange() (off int64, n int) {
	most := 6 * kib
	if e.chance.IntN(10) == 0 {
		most = largestRange
	}
	n = 1 + e.chance.IntN(most)
	off = e.chance.Int64N(exercisedSize - int64(n) + 1)
	switch e.chance.IntN(20) {
	case 0:
		off = exercisedSize - int64(n)
	case 1:
		off &^= 4095
	}
	if e.flags&syscall.O_DIRECT != 0 {
		off, n = off&^511, max(n&^511, 512)
	}
	return off, n
}

func (e *exerciser) readRange() {
	off, n := e.randomRange()
	got, err := e.file.ReadAt(e.buf[:n], off)
	e.same(e.buf[:got], off, n, err)
}

// same compares bytes that were read at off.
func (e *exerciser) same(got []byte, off int64, n int, err error) {
	e.t.Helper()
	if err != nil || len(got) != n {
		e.t.Fatalf("reading %d bytes at %#x: %d, %v", n, off, len(got), err)
	}
	if !bytes.Equal(got, e.want[off:][:n]) {
		at := firstDifference(got, e.want[off:])
		e.t.Fatalf("%d bytes at %#x: the byte at %#x is %#x, want %#x", n, off, off+int64(at), got[at], e.want[off+int64(at)])
	}
}

// content fills p with random bytes, or sometimes with zeros.
func (e *exerciser) content(p []byte) {
	fill := e.chance.Uint64()
	if e.chance.IntN(16) == 0 {
		fill = 0
	}
	copy(p, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, fill), len(p)/8+1))
}

func (e *exerciser) writeRange() {
	off, n := e.randomRange()
	e.content(e.buf[:n])
	_, err := e.file.WriteAt(e.buf[:n], off)
	e.check(err)
	copy(e.want[off:], e.buf[:n])
}

func (e *exerciser) zeroRange(mode uint32) {
	off, n := e.randomRange()
	e.check(unix.Fallocate(int(e.file.Fd()), mode, off, int64(n)))
	clear(e.want[off:][:n])
}

// mapRange reads and writes through memory.
func (e *exerciser) mapRange() {
	off, n := e.randomRange()
	n = min(n, 16*kib)
	from := off &^ 4095
	mapped, err := unix.Mmap(int(e.file.Fd()), from, int(off-from)+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	e.check(err)
	defer func() { e.check(unix.Munmap(mapped)) }()
	part := mapped[off-from:]
	e.same(part, off, n, nil)
	if e.chance.IntN(2) == 0 {
		e.content(part)
		copy(e.want[off:], part)
		e.check(unix.Msync(mapped, unix.MS_SYNC))
	}
}

// seek finds the next data or hole. Holes must be zeros.
func (e *exerciser) seek() {
	off := e.chance.Int64N(exercisedSize)
	fd := int(e.file.Fd())
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		data, err = exercisedSize, nil
	}
	e.check(err)
	if at := firstDifference(e.want[off:data], make([]byte, data-off)); at < int(data-off) {
		e.t.Fatalf("SEEK_DATA finds data at %#x from %#x on, but there is some at %#x", data, off, off+int64(at))
	}
	if data == exercisedSize {
		return
	}
	hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
	e.check(err)
	if hole <= data || hole > exercisedSize {
		e.t.Fatalf("SEEK_DATA finds data at %#x, and SEEK_HOLE a hole at %#x", data, hole)
	}
}

func (e *exerciser) truncate() {
	if err := e.file.Truncate(e.chance.Int64N(exercisedSize)); !errors.Is(err, unix.EPERM) {
		e.t.Fatalf("truncating: %v, want EPERM", err)
	}
	if _, err := e.file.WriteAt(e.buf[:512], exercisedSize); err == nil {
		e.t.Fatal("a write past the end succeeded")
	}
}

// commit makes an image while the file is open, and compares it.
func (e *exerciser) commit() {
	image := fmt.Sprintf("image-%d", e.number)
	e.run(e.t, "volumes/one", "commit "+image)
	e.awaitJob(e.t, "volumes/one")
	e.whole(e.disk(image))
	e.run(e.t, image, "delete")
	copy(e.base, e.want)
}

// whole compares all of a disk's bytes.
func (e *exerciser) whole(path string) {
	f, err := os.Open(path)
	e.check(err)
	defer f.Close()
	got, err := io.ReadAll(f)
	e.check(err)
	if len(got) != exercisedSize {
		e.t.Fatalf("%s has %d bytes", path, len(got))
	}
	e.same(got, 0, exercisedSize, nil)
}

func (e *exerciser) revert() {
	e.close()
	e.run(e.t, "volumes/one", "revert")
	copy(e.want, e.base)
	e.open()
}

func (e *exerciser) restart() {
	e.close()
	e.stop(e.t)
	e.daemon = e.daemon.place.serve(e.t)
	e.open()
}
