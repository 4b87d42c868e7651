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

// TestRebuild: a lost database is rebuilt from the packs.
func TestRebuild(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 16*mib, 50)
	d.register(t, "web", m.as(t, "zvhd2"))
	p.mustImsfs(t, "hydrate", "web")
	d.stop(t)
	must(t, os.RemoveAll(filepath.Join(p.store, "db")))
	imsfs(t, "serve", p.mnt, "--store", p.store).refused(t, "store")
	wantWords(t, "rebuild", mustRun(t, program, "store", "rebuild", "--store", p.store), "image web is back")
	must(t, os.Remove(p.file("disk.raw.zvhd2")))
	p.serve(t)
	m.same(t, p.disk("web"))
}

// rebuild removes the database of a store whose server has ended, rebuilds it, and returns the
// output.
func (p place) rebuild(t *testing.T) string {
	t.Helper()
	must(t, os.RemoveAll(filepath.Join(p.store, "db")))
	return mustRun(t, program, "store", "rebuild", "--store", p.store)
}

// scribble writes random ranges to a volume and to its expected bytes, and syncs.
func (p place) scribble(t *testing.T, volume string, want []byte, seed uint64) {
	t.Helper()
	f, err := os.OpenFile(p.volume(volume, "disk"), os.O_RDWR, 0)
	must(t, err)
	r, noise := rand.New(rand.NewPCG(seed, 0)), rand.NewChaCha8([32]byte{byte(seed)})
	for range 20 {
		off := r.IntN(len(want) - 70000)
		part := want[off:][:1+r.IntN(70000)]
		_, err := noise.Read(part)
		must(t, err)
		_, err = f.WriteAt(part, int64(off))
		must(t, err)
	}
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, mib, 100000))
	clear(want[mib:][:100000])
	must(t, f.Sync())
	must(t, f.Close())
}

// TestRebuildVolumes: volumes and their bytes come back after the loss of the database, after a
// stop and after a kill.
func TestRebuildVolumes(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 6*mib, 51)
	base := readFile(t, m.path)
	web := m.as(t, "qcow2")
	p.register(t, "web", web)
	p.mustImsfs(t, "hydrate", "web")
	p.register(t, "part", m.path) // not complete, so a rebuild loses it
	want := map[string][]byte{"fresh": make([]byte, 4*mib), "lazy": append([]byte(nil), base...)}
	p.run(t, "", "create fresh size="+strconv.Itoa(4*mib))
	p.run(t, "part", "clone lazy")
	for _, name := range []string{"one", "two", "untouched"} {
		p.run(t, "web", "clone "+name)
		want[name] = append([]byte(nil), base...)
	}
	must(t, os.Remove(web))
	seed := uint64(0)
	write := func() {
		for _, name := range []string{"one", "two", "fresh", "lazy"} {
			seed++
			p.scribble(t, name, want[name], seed)
		}
	}
	write()
	p.runJob(t, "volumes/one", "snapshot of-one")
	p.runJob(t, "volumes/two", "commit of-two")
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
		d.mayKeep(m.path) // a volume is based on it, but its image was not complete
		for name, bytes := range want {
			sameContent(t, p, name, bytes)
		}
		write()
		if round == 1 {
			p.run(t, "volumes/two", "rename zwei")
			want["zwei"] = want["two"]
			delete(want, "two")
			p.run(t, "volumes/zwei", "rename two")
			want["two"] = want["zwei"]
			delete(want, "zwei")
			p.runJob(t, "volumes/two", "snapshot of-two-again")
		}
	}
	p.run(t, "volumes/one", "revert")
	sameContent(t, p, "one", base)
}

// TestRebuildAfterKills removes the database after each kill of a server at work on a volume.
func TestRebuildAfterKills(t *testing.T) {
	killVolume(t, func(p place) { p.hydrate(t, "web") },
		func(p place) { wantWords(t, "rebuild", p.rebuild(t), "volume one is back") })
}

// TestRebuildWithoutTheCommitted: an image that was committed on an incomplete one is lost with the
// database. A volume that is based on it reports that, and the bytes written since can be exported.
func TestRebuildWithoutTheCommitted(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 4*mib, 52)
	p.register(t, "web", m.path)
	p.run(t, "web", "clone one")
	p.runJob(t, "volumes/one", "commit next")
	want := make([]byte, 4*mib)
	f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	copy(want[2*mib:], strings.Repeat("since", 4096))
	_, err = f.WriteAt(want[2*mib:][:20480], 2*mib)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	d.stop(t)
	wantWords(t, "rebuild", p.rebuild(t), "volume one is back", "what volume one rested on is lost", "--salvage")

	d = p.serve(t)
	d.log.expect("a volume is damaged")
	wantWords(t, "status", read(t, p.volume("one", "status")), "state error\n", "\nerror the disk it rests on", "lost")
	out := p.file("out")
	p.imsfs(t, "export", "one", out, "-O", "raw").failed(t, 1, "salvage")
	p.mustImsfs(t, "export", "one", out, "-O", "raw", "--salvage")
	if got := readFile(t, out); string(got) != string(want) {
		t.Error("the export has other bytes than those written since")
	}
	p.run(t, "volumes/one", "delete")
}
