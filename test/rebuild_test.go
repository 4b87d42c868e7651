package test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRebuild: a lost database is made anew from the packs.
func TestRebuild(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 16*mib, 50)
	d.register(t, "web", m.as(t, "zvhd2"))
	do(t, program, "hydrate", "web", "--mount", p.mnt)
	d.stop(t)
	if err := os.RemoveAll(filepath.Join(p.store, "db")); err != nil {
		t.Fatal(err)
	}
	imsfs(t, "serve", p.mnt, "--store", p.store).refused(t, "store")
	wantWords(t, "rebuild", do(t, program, "store", "rebuild", "--store", p.store), "image web is back")
	if err := os.Remove(p.file("disk.raw.zvhd2")); err != nil {
		t.Fatal(err)
	}
	p.serve(t)
	m.same(t, p.disk("web"))
}

// rebuild loses the database of a store whose server has ended, makes it anew, and returns what that tells.
func (p place) rebuild(t *testing.T) string {
	t.Helper()
	check(t, os.RemoveAll(filepath.Join(p.store, "db")))
	return do(t, program, "store", "rebuild", "--store", p.store)
}

// scribble writes to a volume in several places, here and in the file's expected bytes, and syncs.
func (p place) scribble(t *testing.T, volume string, want []byte, seed uint64) {
	t.Helper()
	f, err := os.OpenFile(p.volume(volume, "disk"), os.O_RDWR, 0)
	check(t, err)
	r, noise := rand.New(rand.NewPCG(seed, 0)), rand.NewChaCha8([32]byte{byte(seed)})
	for range 20 {
		off := r.IntN(len(want) - 70000)
		part := want[off:][:1+r.IntN(70000)]
		_, err := noise.Read(part)
		check(t, err)
		_, err = f.WriteAt(part, int64(off))
		check(t, err)
	}
	check(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, mib, 100000))
	clear(want[mib:][:100000])
	check(t, f.Sync())
	check(t, f.Close())
}

// await gives a volume a command that starts a job, and waits for its good end.
func (p place) await(t *testing.T, volume, line string) {
	t.Helper()
	check(t, p.order(t, volume, line))
	eventually(t, func() string {
		if job := read(t, p.volume(volume, "job")); !strings.HasPrefix(job, "DONE") {
			return job
		}
		return ""
	})
}

// TestRebuildVolumes: what was written to volumes comes back with them when the database is lost, after a stop and after a kill.
func TestRebuildVolumes(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 6*mib, 51)
	base := first(t, m.path)
	web := m.as(t, "qcow2")
	p.register(t, "web", web)
	do(t, program, "hydrate", "web", "--mount", p.mnt)
	p.register(t, "part", m.path) // of which the store has little, and a rebuild nothing
	want := map[string][]byte{"fresh": make([]byte, 4*mib), "lazy": append([]byte(nil), base...)}
	p.tell(t, "", "create fresh size="+strconv.Itoa(4*mib))
	p.tell(t, "part", "clone lazy")
	for _, name := range []string{"one", "two", "untouched"} {
		p.tell(t, "web", "clone "+name)
		want[name] = append([]byte(nil), base...)
	}
	check(t, os.Remove(web))
	seed := uint64(0)
	write := func() {
		for _, name := range []string{"one", "two", "fresh", "lazy"} {
			seed++
			p.scribble(t, name, want[name], seed)
		}
	}
	write()
	p.await(t, "one", "snapshot of-one")
	p.await(t, "two", "commit of-two")
	write()
	for round := range 4 {
		if round%2 == 0 {
			d.stop(t)
		} else {
			d.kill(t)
		}
		said := p.rebuild(t)
		for name := range want {
			wantWords(t, "rebuild", said, "volume "+name+" is back")
		}
		if strings.Contains(said, "volumes is in") {
			t.Errorf("something was set aside: %s", said)
		}
		d = p.serve(t)
		d.mayKeep(m.path) // the image of it was not complete
		for name, bytes := range want {
			sameContent(t, p, name, bytes)
		}
		write()
		if round == 1 {
			check(t, p.order(t, "two", "rename zwei"))
			want["zwei"] = want["two"]
			delete(want, "two")
			check(t, p.order(t, "zwei", "rename two"))
			want["two"] = want["zwei"]
			delete(want, "zwei")
			p.await(t, "two", "snapshot of-two-again")
		}
	}
	check(t, p.order(t, "one", "revert"))
	sameContent(t, p, "one", base)
}

// TestRebuildAfterKills loses the database each time that the server was killed at some work on the volume.
func TestRebuildAfterKills(t *testing.T) {
	killVolume(t, func(p place) { p.wholeDigest(t, "web") },
		func(p place) { wantWords(t, "rebuild", p.rebuild(t), "volume one is back") })
}

// TestRebuildWithoutTheCommitted: an image that was committed on one that was not complete is lost with the database. A volume that rests
// on it tells so, and what was written to it since can be had.
func TestRebuildWithoutTheCommitted(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 4*mib, 52)
	p.register(t, "web", m.path)
	p.tell(t, "web", "clone one")
	p.await(t, "one", "commit next")
	want := make([]byte, 4*mib)
	f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
	check(t, err)
	copy(want[2*mib:], strings.Repeat("since", 4096))
	_, err = f.WriteAt(want[2*mib:][:20480], 2*mib)
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
	d.stop(t)
	wantWords(t, "rebuild", p.rebuild(t), "volume one is back", "what volume one rested on is lost", "--salvage")

	d = p.serve(t)
	d.log.expect("a volume is damaged")
	wantWords(t, "status", read(t, p.volume("one", "status")), "state error\n", "\nerror what it rests on", "lost")
	out := p.file("out")
	imsfs(t, "export", "one", out, "-O", "raw", "--mount", p.mnt).failed(t, 1, "salvage")
	do(t, program, "export", "one", out, "-O", "raw", "--salvage", "--mount", p.mnt)
	if got := first(t, out); string(got) != string(want) {
		t.Error("the export has something else than what was written since")
	}
	check(t, p.order(t, "one", "delete"))
}
