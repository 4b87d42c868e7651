package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHydratedImageOutlivesItsSource: a hydrated image reads right after a restart without its
// source.
func TestHydratedImageOutlivesItsSource(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 20*mib+512, 21)
	for _, format := range written {
		image := m.as(t, format)
		want := strings.TrimSpace(mustRun(t, program, "digest", image))
		d.register(t, format, image)
		p.mustImsfs(t, "hydrate", format)
		if got := strings.TrimSpace(read(t, p.path("images", format, "digest"))); got != want {
			t.Errorf("%s: digest %s, want %s", format, got, want)
		}
	}
	stats := p.mustImsfs(t, "store", "stats")
	wantWords(t, "store stats", stats, "images:      "+strconv.Itoa(len(written)), "blocks:", "no limit")
	d.stop(t)
	for _, format := range written {
		must(t, os.RemoveAll(p.file("disk.raw."+format)))
	}
	source := m.path
	m.path = p.file("model")
	must(t, os.Rename(source, m.path))
	p.serve(t)
	for _, format := range written {
		m.same(t, p.disk(format))
		if got := p.status(t, format, "complete"); got != "yes" {
			t.Errorf("%s: complete %s", format, got)
		}
		p.imsfs(t, "evict", format).refused(t, "cannot give again")
		p.mustImsfs(t, "verify", format)
	}
}

// TestReadsAreKept: bytes that were read once come from the store, also after a restart.
func TestReadsAreKept(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 9*mib, 22)
	d.register(t, "web", m.as(t, "zvhd2"))
	m.same(t, p.disk("web"))
	d.stop(t) // saves the units in the queue
	p.serve(t)
	m.same(t, p.disk("web"))
	if got := p.status(t, "", "cache_loads"); got != "0" {
		t.Errorf("%s clusters were decoded again", got)
	}
}

// damage flips random bits in the packs of a store whose server has ended.
func (p place) damage(t *testing.T, flips int) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(p.store, "packs", "*.pack"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("packs %q, %v", packs, err)
	}
	for _, path := range packs {
		b, err := os.ReadFile(path)
		must(t, err)
		for range flips {
			b[64+rand.IntN(len(b)-64)] ^= 1 << rand.IntN(8)
		}
		must(t, os.WriteFile(path, b, 0o600))
	}
}

// TestDamagedPacks: readers get the right bytes while the source is there, and never wrong ones
// when it is not.
func TestDamagedPacks(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 16*mib, 23)
	d.register(t, "web", m.as(t, "zvhd2"))
	p.mustImsfs(t, "hydrate", "web")
	d.stop(t)
	p.damage(t, 20)
	d = p.serve(t)
	m.same(t, p.disk("web"))
	d.stop(t)

	p.damage(t, 20)
	must(t, os.Rename(p.file("disk.raw.zvhd2"), p.file("elsewhere")))
	p.serve(t)
	if r := p.imsfs(t, "store", "verify"); r.code == 0 {
		t.Error("verify found nothing in damaged packs")
	} else {
		wantWords(t, "stderr", r.stderr, "damaged", "out of use")
	}
	if got := p.status(t, "web", "complete"); got != "no" {
		t.Errorf("complete %s with damaged blocks", got)
	}
	must(t, os.Rename(p.file("elsewhere"), p.file("disk.raw.zvhd2")))
	p.run(t, "web", "refresh")
	m.same(t, p.disk("web"))
}

// rounds returns how often servers are killed: IMSFS_ROUNDS, or the default.
func rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("IMSFS_ROUNDS")); err == nil {
		return n
	}
	return otherwise
}

// TestKilledWhileLoading kills the server while it loads, sweeps and compacts. Acknowledged images
// must be there, and read right with an empty cache.
func TestKilledWhileLoading(t *testing.T) {
	p := newPlace(t)
	m := makeModel(t, p.file("disk.raw"), 24*mib, 24)
	image := m.as(t, "zvhd2")
	other := makeModel(t, p.file("other.raw"), 8*mib, 25)
	complete := map[string]string{} // the digests of complete images
	for round := range rounds(5) {
		d := p.serve(t)
		for name, digest := range complete {
			if got := strings.TrimSpace(read(t, p.path("images", name, "digest"))); got != digest {
				t.Fatalf("round %d: the digest of %s is %q, want %q", round, name, got, digest)
			}
		}
		name := fmt.Sprintf("image-%d", round)
		d.register(t, name, image)
		d.register(t, "garbage", other.path)
		p.mustImsfs(t, "prefetch", "garbage")
		d.run(t, "garbage", "delete")
		if round%2 == 1 { // an image that is complete before the kill
			done := fmt.Sprintf("done-%d", round)
			d.register(t, done, other.path)
			p.mustImsfs(t, "hydrate", done)
			complete[done] = strings.TrimSpace(read(t, p.path("images", done, "digest")))
		}
		d.run(t, name, "hydrate")
		d.run(t, "", []string{"sweep", "compact", "verify"}[round%3])
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond) // the random moment of the kill is the test's input
		d.kill(t)
	}
	p.serve(t)
	for round := range rounds(5) {
		name := fmt.Sprintf("image-%d", round)
		m.same(t, p.disk(name))
		eventually(t, func() string { // the last server resumes the hydrates
			if got := p.status(t, name, "complete"); got != "yes" {
				return name + ": complete " + got + ", job " + read(t, p.path("images", name, "job"))
			}
			return ""
		})
	}
	for name := range complete {
		other.same(t, p.disk(name))
	}
	p.mustImsfs(t, "store", "verify")
}

// TestFullDisk: a store on a small file system that fills up fails no read, reports the error, and
// keeps the floor free.
func TestFullDisk(t *testing.T) {
	p := newPlace(t)
	disk := p.file("small.img")
	mustRun(t, "truncate", "-s", "160M", disk)
	mustRun(t, "mkfs.ext4", "-q", "-m", "0", disk)
	p.store = p.file("small")
	must(t, os.Mkdir(p.store, 0o755))
	mustRun(t, "mount", "-o", "loop", disk, p.store)
	mounted := p.store
	t.Cleanup(func() { mustRun(t, "umount", mounted) })
	at := p.store
	p.store = filepath.Join(at, "store")

	// Units are saved after their readers were answered, so it is a race whether the floor is
	// reached.
	const full = "the store could not keep what was loaded"
	d := p.serve(t, "--free-floor", "40MiB")
	d.log.allow(full)
	noise := model{p.file("noise.raw"), 256 * mib}
	mustRun(t, "dd", "if=/dev/urandom", "of="+noise.path, "bs=1M", "count=256", "status=none")
	d.register(t, "noise", noise.path)
	noise.same(t, p.disk("noise")) // blocks that do not fit are not stored
	r := p.imsfs(t, "hydrate", "noise")
	r.failed(t, 1, "full")
	if got := p.status(t, "noise", "complete"); got != "no" {
		t.Errorf("complete %s on a disk that has no room for it", got)
	}
	noise.same(t, p.disk("noise"))
	wantWords(t, "error", p.lastError(t, "noise"), "full")
	free := strings.Fields(mustRun(t, "df", "--output=avail", "-B1", at))
	if n, err := strconv.ParseInt(free[len(free)-1], 10, 64); err != nil || n < 30*mib {
		t.Errorf("%d bytes are left on the store's file system (%v)", n, err)
	}
	d.stop(t)
	p.serve(t, "--free-floor", "40MiB").log.allow(full) // a full store opens again
	noise.same(t, p.disk("noise"))
}

// TestStoreLimit: at the limit lazy blocks leave the store, and those of hydrated images stay.
func TestStoreLimit(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t, "--store-limit", "24MiB")
	kept := makeModel(t, p.file("kept.raw"), 8*mib, 40)
	d.register(t, "kept", kept.path)
	p.mustImsfs(t, "hydrate", "kept")
	for n := range 4 {
		m := makeModel(t, p.file(fmt.Sprintf("lazy-%d.raw", n)), 24*mib, uint64(41+n))
		name := fmt.Sprintf("lazy-%d", n)
		d.register(t, name, m.path)
		p.imsfs(t, "prefetch", name) // may fail at the limit
		m.same(t, p.disk(name))
	}
	if got := p.status(t, "kept", "complete"); got != "yes" {
		t.Errorf("the hydrated image is complete %s", got)
	}
	used, err := strconv.ParseInt(p.status(t, "", "store_used"), 10, 64)
	if err != nil || used > 26*mib {
		t.Errorf("%d bytes are used of 24 MiB (%v)", used, err)
	}
}
