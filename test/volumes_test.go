package test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// volume gives a path in a volume's directory.
func (p place) volume(name, file string) string { return p.path("volumes", name, file) }

// wholeDigest is an image's digest when all of it is in the store.
func (p place) wholeDigest(t *testing.T, image string) string {
	t.Helper()
	p.tell(t, image, "hydrate")
	eventually(t, func() string {
		if job := read(t, p.path("images", image, "job")); !strings.HasPrefix(job, "DONE") {
			return job
		}
		return ""
	})
	digest := strings.TrimSpace(read(t, p.path("images", image, "digest")))
	if digest == "" {
		t.Errorf("the image %s is not whole", image)
	}
	return digest
}

// order gives a volume one command.
func (p place) order(t *testing.T, volume, line string) error {
	t.Helper()
	f, err := os.OpenFile(p.volume(volume, "ctl"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.WriteString(line)
	return err
}

// TestVolume clones, writes, restarts and deletes, over a real mount.
func TestVolume(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("base.raw"), 4*mib, 3)
	want, err := os.ReadFile(m.path)
	check(t, err)
	p.register(t, "web", m.path)
	p.tell(t, "web", "clone one size="+strconv.Itoa(6*mib))
	p.tell(t, "web", "clone two")
	p.tell(t, "web", "delete")
	source := m.path
	d.mayKeep(source)
	want = append(want, make([]byte, 2*mib)...)

	f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
	check(t, err)
	write := func(n int, off int64) {
		t.Helper()
		_, err := rand.NewChaCha8([32]byte{byte(off)}).Read(want[off:][:n])
		check(t, err)
		_, err = f.WriteAt(want[off:][:n], off)
		check(t, err)
	}
	write(10, 100)
	write(mib, mib-100)
	write(5000, 6*mib-5000)
	check(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 2*mib, mib))
	clear(want[2*mib:][:mib])
	check(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 10000, 10000))
	clear(want[10000:][:10000])
	if _, err := f.WriteAt([]byte{1, 2}, 6*mib-1); !errors.Is(err, unix.EFBIG) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write over the end: %v", err)
	}
	want[6*mib-1] = readBack(t, f, 6*mib-1)
	if err := f.Truncate(mib); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncating it: %v", err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 3*mib, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	copy(mapped[4000:], "through memory")
	copy(want[3*mib+4000:], "through memory")
	check(t, unix.Msync(mapped, unix.MS_SYNC))
	check(t, unix.Munmap(mapped))
	if r := sh(t, `exec 3<>"$1"`, p.volume("one", "disk")); r.code == 0 || !strings.Contains(r.stderr, "busy") {
		t.Errorf("a second process that writes: %+v", r)
	}
	if err := p.order(t, "one", "delete"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("deleting what is in use: %v", err)
	}
	if hole, err := unix.Seek(int(f.Fd()), 2*mib, unix.SEEK_DATA); err != nil || hole != 3*mib {
		t.Errorf("the data behind the hole begins at %d, %v", hole, err)
	}
	check(t, f.Sync())
	check(t, f.Close())
	sameContent(t, p, "one", want)
	d.stop(t)

	d = p.serve(t)
	d.mayKeep(source)
	sameContent(t, p, "one", want)
	sameContent(t, p, "two", first(t, m.path))
	digest := do(t, program, "digest", p.volume("one", "disk"))
	check(t, p.order(t, "one", "commit next os=linux"))
	eventually(t, func() string {
		if job := read(t, p.volume("one", "job")); !strings.HasPrefix(job, "DONE") {
			return job
		}
		return ""
	})
	if got := p.wholeDigest(t, "next"); !strings.HasPrefix(digest, got) {
		t.Errorf("the image's digest is %q, the volume's was %q", got, digest)
	}
	sameContent(t, p, "one", want)
	d.stop(t)
	d = p.serve(t)
	d.mayKeep(source)
	sameContent(t, p, "one", want)
	p.tell(t, "next", "delete")
	sameContent(t, p, "one", want)
	check(t, p.order(t, "one", "rename uno"))
	m.path = p.file("committed.raw")
	check(t, os.WriteFile(m.path, want[:4*mib], 0o600))
	tail := bytes.Clone(want[4*mib:])
	check(t, p.order(t, "uno", "revert"))
	sameContent(t, p, "uno", append(first(t, m.path), tail...))
	check(t, p.order(t, "uno", "resize "+strconv.Itoa(8*mib)))
	check(t, p.order(t, "uno", "resize "+strconv.Itoa(mib)+" force"))
	sameContent(t, p, "uno", first(t, m.path)[:mib])
	check(t, p.order(t, "uno", "delete"))
	check(t, p.order(t, "two", "delete"))
	left, err := os.ReadDir(filepath.Join(p.store, "volumes"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d files of deltas are left, %v", len(left), err)
	}
	d.stop(t)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func first(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

func readBack(t *testing.T, f *os.File, off int64) byte {
	t.Helper()
	var b [1]byte
	_, err := f.ReadAt(b[:], off)
	check(t, err)
	return b[0]
}

func sameContent(t *testing.T, p place, volume string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(p.volume(volume, "disk"))
	check(t, err)
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("%s has %d bytes, want %d, and differs at %d", volume, len(got), len(want), i)
	}
}

// TestVolumeFileSystem makes a file system on an empty volume, puts files there, and finds them whole after a restart.
func TestVolumeFileSystem(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	p.tell(t, "", "create fresh size="+strconv.Itoa(96*mib))
	device := do(t, "losetup", "--find", "--show", p.volume("fresh", "disk"))
	do(t, "mkfs.ext4", "-q", device)
	at := t.TempDir()
	check(t, unix.Mount(device, at, "ext4", 0, ""))
	do(t, "cp", "-r", "../lifecycle", "../formats", at)
	check(t, unix.Unmount(at, 0))
	do(t, "losetup", "--detach", device)
	d.stop(t)

	p.serve(t)
	if out, err := exec.Command("e2fsck", "-f", "-n", p.volume("fresh", "disk")).CombinedOutput(); err != nil {
		t.Errorf("fsck: %v: %s", err, out)
	}
	at = mountLoop(t, p.volume("fresh", "disk"))
	want, got := hashes(t, "../formats"), hashes(t, filepath.Join(at, "formats"))
	if len(want) != len(got) {
		t.Errorf("%d files are there, want %d", len(got), len(want))
	}
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("%s is not what it was", name)
		}
	}
}

// TestVolumeKilled has a volume's server killed, and started again.
func TestVolumeKilled(t *testing.T) {
	nothing := func(place) {}
	killVolume(t, nothing, nothing)
}

// killVolume writes with syncs, kills the server while it commits, exports or folds, and looks: what was synced is there, and each unit is as it
// was at some time since. prepare is for the image web before it is cloned, restore for the store between one server and the next.
func killVolume(t *testing.T, prepare, restore func(place)) {
	t.Helper()
	const unit, units = 4096, 512
	p := newPlace(t)
	m := makeModel(t, p.file("base.raw"), units*unit, 5)
	was := first(t, m.path)
	d := p.serve(t)
	p.register(t, "web", m.path)
	prepare(p)
	p.tell(t, "web", "clone one")
	r := rand.New(rand.NewPCG(1, 2))
	for round := range rounds(5) {
		f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
		check(t, err)
		may := map[int64][][]byte{}
		for i := range 100 + r.IntN(100) {
			u, p := r.Int64N(units), make([]byte, unit)
			for j := range p {
				p[j] = byte(r.Uint32())
			}
			_, err := f.WriteAt(p, u*unit)
			check(t, err)
			may[u] = append(may[u], p)
			switch { // the kill may or may not find it at work
			case round%2 == 0 && i == 90:
				eventually(t, func() string {
					err := d.order(t, "one", "commit c-"+strconv.Itoa(round))
					if errors.Is(err, unix.EBUSY) { // what the last kill left is being folded
						return err.Error()
					}
					check(t, err)
					return ""
				})
			case round%2 == 1 && i%15 == 14:
				if err := d.order(t, "one", "export raw "+d.file("out")+" force=yes"); !errors.Is(err, unix.EBUSY) { // the one before it is done
					check(t, err)
				}
			}
			if i%20 == 10 {
				check(t, f.Sync())
				for u, versions := range may {
					copy(was[u*unit:], versions[len(versions)-1])
				}
				clear(may)
			}
		}
		d.kill(t)
		f.Close() // the server is gone, and so is what it was asked to close
		restore(p)
		d = p.serve(t)
		for _, image := range d.images(t) {
			if image != "web" {
				p.wholeDigest(t, image)
			}
		}
		got := first(t, p.volume("one", "disk"))
		for u := int64(0); u < units; u++ {
			g, ok := got[u*unit:][:unit], bytes.Equal(got[u*unit:][:unit], was[u*unit:][:unit])
			for _, v := range may[u] {
				ok = ok || bytes.Equal(g, v)
			}
			if !ok {
				t.Fatalf("round %d: unit %d is nothing that it was since it was synced", round, u)
			}
		}
		was = got
	}
	d.stop(t)
}
