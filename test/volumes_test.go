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

// volume returns the path of a file of a volume.
func (p place) volume(name, file string) string { return p.path("volumes", name, file) }

// hydrate loads all of an image and returns its digest.
func (p place) hydrate(t *testing.T, image string) string {
	t.Helper()
	p.runJob(t, image, "hydrate")
	digest := strings.TrimSpace(read(t, p.path("images", image, "digest")))
	if digest == "" {
		t.Errorf("the image %s has no digest after hydrate", image)
	}
	return digest
}

// tracked is a volume's disk with the bytes that it must have.
type tracked struct {
	t    *testing.T
	p    place
	name string
	want []byte
	file *os.File // nil while it is closed
}

func (v *tracked) open() {
	v.t.Helper()
	var err error
	v.file, err = os.OpenFile(v.p.volume(v.name, "disk"), os.O_RDWR, 0)
	must(v.t, err)
	v.t.Cleanup(func() { v.file.Close() })
}

// close makes all that was written durable and closes the disk.
func (v *tracked) close() {
	v.t.Helper()
	must(v.t, v.file.Sync())
	must(v.t, v.file.Close())
}

// write writes n random bytes.
func (v *tracked) write(off int64, n int) {
	v.t.Helper()
	part := v.want[off:][:n]
	_, err := rand.NewChaCha8([32]byte{byte(off)}).Read(part)
	must(v.t, err)
	_, err = v.file.WriteAt(part, off)
	must(v.t, err)
}

// zero clears a range by fallocate(2).
func (v *tracked) zero(mode uint32, off, n int64) {
	v.t.Helper()
	must(v.t, unix.Fallocate(int(v.file.Fd()), mode, off, n))
	clear(v.want[off:][:n])
}

// same compares all of the disk.
func (v *tracked) same() {
	v.t.Helper()
	sameContent(v.t, v.p, v.name, v.want)
}

// cloned serves a store with the image web and its clone one, which is 2 MiB larger.
func cloned(t *testing.T) (*daemon, *tracked) {
	t.Helper()
	d := serve(t)
	m := makeModel(t, d.file("base.raw"), 4*mib, 3)
	d.register(t, "web", m.path)
	d.run(t, "web", "clone one size="+strconv.Itoa(6*mib))
	v := &tracked{t: t, p: d.place, name: "one", want: append(readFile(t, m.path), make([]byte, 2*mib)...)}
	return d, v
}

// clonedAndWritten serves a store as cloned does, with bytes written to the volume in several
// places.
func clonedAndWritten(t *testing.T) (*daemon, *tracked) {
	t.Helper()
	d, v := cloned(t)
	v.open()
	v.write(100, 10)
	v.write(mib-100, mib)
	v.write(6*mib-5000, 5000)
	v.zero(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 2*mib, mib)
	v.close()
	return d, v
}

func TestVolumeDisk(t *testing.T) {
	t.Run("a clone reads as its image, and as zeros past the image's end", func(t *testing.T) {
		_, v := cloned(t)
		v.same()
	})
	t.Run("writes of any size and place are read back", func(t *testing.T) {
		_, v := clonedAndWritten(t)
		v.same()
	})
	t.Run("a punched hole and a zeroed range are zeros", func(t *testing.T) {
		_, v := cloned(t)
		v.open()
		v.zero(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 2*mib, mib)
		v.zero(unix.FALLOC_FL_ZERO_RANGE, 10000, 10000)
		if data, err := unix.Seek(int(v.file.Fd()), 2*mib, unix.SEEK_DATA); err != nil || data != 3*mib {
			t.Errorf("the data after the hole begins at %d, %v, want %d", data, err, 3*mib)
		}
		v.same()
	})
	t.Run("a write past the end is refused", func(t *testing.T) {
		_, v := cloned(t)
		v.open()
		if _, err := v.file.WriteAt([]byte{1, 2}, 6*mib-1); !errors.Is(err, unix.EFBIG) && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("a write over the end: %v", err)
		}
		_, err := v.file.ReadAt(v.want[6*mib-1:], 6*mib-1) // the byte before the end may have been written
		must(t, err)
		v.same()
	})
	t.Run("truncating is refused", func(t *testing.T) {
		_, v := cloned(t)
		v.open()
		if err := v.file.Truncate(mib); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncating: %v, want EPERM", err)
		}
		v.same()
	})
	t.Run("writes through memory are read back", func(t *testing.T) {
		_, v := cloned(t)
		v.open()
		mapped, err := unix.Mmap(int(v.file.Fd()), 3*mib, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(t, err)
		copy(mapped[4000:], "through memory")
		copy(v.want[3*mib+4000:], "through memory")
		must(t, unix.Msync(mapped, unix.MS_SYNC))
		must(t, unix.Munmap(mapped))
		v.same()
	})
	t.Run("a second process that writes is refused, and so is delete", func(t *testing.T) {
		d, v := cloned(t)
		v.open()
		if r := sh(t, `exec 3<>"$1"`, d.volume("one", "disk")); r.code == 0 || !strings.Contains(r.stderr, "busy") {
			t.Errorf("a second process that writes: %+v", r)
		}
		d.refused(t, "volumes/one", "delete", unix.EBUSY)
	})
	t.Run("written bytes survive a restart, and the image's deletion", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.run(t, "web", "clone two")
		d.run(t, "web", "delete")
		d.mayKeep(d.file("base.raw"))
		d.stop(t)
		d = d.place.serve(t)
		d.mayKeep(d.file("base.raw"))
		v.same()
		sameContent(t, d.place, "two", readFile(t, d.file("base.raw")))
	})
}

func TestVolumeCommands(t *testing.T) {
	t.Run("a committed image has the volume's bytes", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		want := mustRun(t, program, "digest", d.volume("one", "disk"))
		d.runJob(t, "volumes/one", "commit next os=linux")
		if got := d.hydrate(t, "next"); !strings.HasPrefix(want, got) {
			t.Errorf("the image's digest is %q, the volume's was %q", got, want)
		}
		v.same()
	})
	t.Run("a volume keeps its bytes when the image that it was committed to is deleted", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.runJob(t, "volumes/one", "commit next")
		d.stop(t)
		d = d.place.serve(t)
		v.same()
		d.run(t, "next", "delete")
		v.same()
	})
	t.Run("revert goes back to the commit", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.runJob(t, "volumes/one", "commit next")
		committed := bytes.Clone(v.want)
		v.open()
		v.write(3*mib, 100*kib)
		v.close()
		d.run(t, "volumes/one", "revert")
		v.want = committed
		v.same()
	})
	t.Run("revert goes back to the image", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.run(t, "volumes/one", "revert")
		v.want = append(readFile(t, d.file("base.raw")), make([]byte, 2*mib)...)
		v.same()
	})
	t.Run("resize grows by zeros, and shrinks by force", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.run(t, "volumes/one", "resize "+strconv.Itoa(8*mib))
		v.want = append(v.want, make([]byte, 2*mib)...)
		v.same()
		d.refused(t, "volumes/one", "resize "+strconv.Itoa(mib), unix.EPERM)
		d.run(t, "volumes/one", "resize "+strconv.Itoa(mib)+" force")
		v.want = v.want[:mib]
		v.same()
		d.run(t, "volumes/one", "resize "+strconv.Itoa(2*mib))
		v.want = append(bytes.Clone(v.want), make([]byte, mib)...)
		v.same()
	})
	t.Run("rename keeps the disk", func(t *testing.T) {
		d, v := clonedAndWritten(t)
		d.run(t, "volumes/one", "rename uno")
		v.name = "uno"
		v.same()
	})
	t.Run("delete leaves no files", func(t *testing.T) {
		d, _ := clonedAndWritten(t)
		d.run(t, "volumes/one", "delete")
		left, err := os.ReadDir(filepath.Join(d.store, "volumes"))
		if err != nil || len(left) > 0 {
			t.Errorf("%d files are left, %v", len(left), err)
		}
	})
}

// sameContent compares all of a volume's disk.
func sameContent(t *testing.T, p place, volume string, want []byte) {
	t.Helper()
	got := readFile(t, p.volume(volume, "disk"))
	if !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, want %d, and differs at %d", volume, len(got), len(want), firstDifference(got, want[:min(len(got), len(want))]))
	}
}

// TestVolumeFileSystem makes a file system on an empty volume, copies files to it, and compares
// them after a restart.
func TestVolumeFileSystem(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	p.run(t, "", "create fresh size="+strconv.Itoa(96*mib))
	device := mustRun(t, "losetup", "--find", "--show", p.volume("fresh", "disk"))
	mustRun(t, "mkfs.ext4", "-q", device)
	at := t.TempDir()
	must(t, unix.Mount(device, at, "ext4", 0, ""))
	mustRun(t, "cp", "-r", "../lifecycle", "../formats", at)
	must(t, unix.Unmount(at, 0))
	mustRun(t, "losetup", "--detach", device)
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
			t.Errorf("%s has other bytes", name)
		}
	}
}

// TestVolumeKilled kills the server of a volume that is written to.
func TestVolumeKilled(t *testing.T) {
	nothing := func(place) {}
	killVolume(t, nothing, nothing)
}

// killVolume writes to a volume, kills the server during a commit, an export or a fold, and
// compares: each unit must be as it was at its last sync, or at some time since. prepare gets the
// place before the image web is cloned, restore between one server and the next.
func killVolume(t *testing.T, prepare, restore func(place)) {
	t.Helper()
	p := newPlace(t)
	m := makeModel(t, p.file("base.raw"), killUnits*killUnit, 5)
	d := p.serve(t)
	p.register(t, "web", m.path)
	prepare(p)
	p.run(t, "web", "clone one")
	w := &unitWriter{t: t, chance: rand.New(rand.NewPCG(1, 2)), synced: readFile(t, m.path)}
	for round := range rounds(5) {
		w.open(p.volume("one", "disk"))
		for i := range 100 + w.chance.IntN(100) {
			w.write()
			startJob(t, p, round, i)
			if i%20 == 10 {
				w.sync()
			}
		}
		d.kill(t)
		w.file.Close() // fails, because its server is dead
		restore(p)
		d = p.serve(t)
		for _, image := range d.images(t) {
			if image != "web" {
				p.hydrate(t, image)
			}
		}
		w.compare(round, readFile(t, p.volume("one", "disk")))
	}
	d.stop(t)
}

// startJob starts a commit late in each even round, and exports all through odd ones, so that the
// kill may find them at work.
func startJob(t *testing.T, p place, round, i int) {
	t.Helper()
	switch {
	case round%2 == 0 && i == 90:
		eventually(t, func() string {
			err := p.command("volumes/one", "commit c-"+strconv.Itoa(round))
			if errors.Is(err, unix.EBUSY) { // the last kill left deltas that are being folded
				return err.Error()
			}
			must(t, err)
			return ""
		})
	case round%2 == 1 && i%15 == 14:
		err := p.command("volumes/one", "export raw "+p.file("out")+" force=yes")
		if !errors.Is(err, unix.EBUSY) { // EBUSY: the export before runs
			must(t, err)
		}
	}
}

const killUnit, killUnits = 4096, 512

// unitWriter writes units at random and knows the bytes that each may have after a kill.
type unitWriter struct {
	t      *testing.T
	chance *rand.Rand
	file   *os.File
	synced []byte
	since  map[int64][][]byte // versions of a unit that were written since the last sync
}

func (w *unitWriter) open(path string) {
	w.t.Helper()
	var err error
	w.file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(w.t, err)
	w.since = map[int64][][]byte{}
}

func (w *unitWriter) write() {
	w.t.Helper()
	u, p := w.chance.Int64N(killUnits), make([]byte, killUnit)
	for i := range p {
		p[i] = byte(w.chance.Uint32())
	}
	_, err := w.file.WriteAt(p, u*killUnit)
	must(w.t, err)
	w.since[u] = append(w.since[u], p)
}

func (w *unitWriter) sync() {
	w.t.Helper()
	must(w.t, w.file.Sync())
	for u, versions := range w.since {
		copy(w.synced[u*killUnit:], versions[len(versions)-1])
	}
	clear(w.since)
}

// compare checks each unit after a kill. The bytes that it has then are what the next round begins
// with.
func (w *unitWriter) compare(round int, got []byte) {
	w.t.Helper()
	for u := int64(0); u < killUnits; u++ {
		unit := got[u*killUnit:][:killUnit]
		ok := bytes.Equal(unit, w.synced[u*killUnit:][:killUnit])
		for _, version := range w.since[u] {
			ok = ok || bytes.Equal(unit, version)
		}
		if !ok {
			w.t.Fatalf("round %d: unit %d has bytes that it had neither at the last sync nor since", round, u)
		}
	}
	w.synced = got
}
