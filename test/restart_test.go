package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRestart: images are there after a restart, also without their sources.
func TestRestart(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 5*mib, 9)
	images := []string{"raw", "zvhd2"}
	for _, format := range images {
		d.register(t, format, m.as(t, format))
		d.run(t, format, `set description "kept through a restart"`)
	}
	before := p.listing(t)
	d.stop(t)

	must(t, os.Rename(p.file("disk.raw.zvhd2"), p.file("elsewhere")))
	p.serve(t)
	if after := p.listing(t); after != before {
		t.Errorf("after the restart ls says\n%s\nbefore it said\n%s", after, before)
	}
	if got := read(t, p.path("images", "zvhd2", "meta", "description")); got != "kept through a restart\n" {
		t.Errorf("the description is %q", got)
	}
	m.same(t, p.disk("raw"))
	if _, err := os.Open(p.disk("zvhd2")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("opening an image whose source is gone: %v, want ENOENT", err)
	}
	wantWords(t, "status", p.status(t, "zvhd2", "error"), p.file("disk.raw.zvhd2"), "no such file")
	must(t, os.Rename(p.file("elsewhere"), p.file("disk.raw.zvhd2")))
	if _, err := os.Open(p.disk("zvhd2")); !errors.Is(err, unix.ESTALE) {
		t.Errorf("opening an image whose source was moved away and back: %v, want ESTALE", err)
	}
	p.run(t, "zvhd2", "refresh")
	m.same(t, p.disk("zvhd2"))
	if trouble := p.status(t, "zvhd2", "error"); trouble != "" {
		t.Errorf("the source is back, and the status still has the error %q", trouble)
	}
}

// listing returns the output of ls --json, without the keys that change.
func (p place) listing(t *testing.T) string {
	t.Helper()
	r := p.imsfs(t, "ls", "--json")
	if r.code != 0 {
		t.Fatalf("ls: %s", r.stderr)
	}
	var images []map[string]any
	must(t, json.Unmarshal([]byte(r.stdout), &images))
	for _, image := range images {
		delete(image, "opens")
		delete(image, "job")
	}
	text, err := json.MarshalIndent(images, "", " ")
	must(t, err)
	return string(text)
}

// TestKilledServer: the next server removes the dead mount and has all acknowledged images.
func TestKilledServer(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 9*mib, 10)
	for _, format := range written {
		d.register(t, format, m.as(t, format))
	}
	open, err := os.Open(p.disk("zvhd2"))
	must(t, err)
	defer open.Close()
	before := p.listing(t)
	d.kill(t)
	if _, err := os.Stat(p.path("ctl")); !errors.Is(err, unix.ENOTCONN) {
		t.Fatalf("the mount of a killed server: %v, want ENOTCONN", err)
	}
	d = p.serve(t)
	d.log.await(t, "level=WARN", "dead mount", p.mnt)
	if after := p.listing(t); after != before {
		t.Errorf("after the kill ls says\n%s\nbefore it said\n%s", after, before)
	}
	for _, format := range written {
		m.same(t, p.disk(format))
	}
}

// TestKilledWhileRegistering: acknowledged registrations are there, and no other is half done.
func TestKilledWhileRegistering(t *testing.T) {
	p := newPlace(t)
	m := makeModel(t, p.file("disk.raw"), mib, 11)
	acknowledged := []string{}
	for round := range 6 {
		d := p.serve(t)
		p.checkRegistered(t, acknowledged, m)
		enough := make(chan struct{})
		registered := make(chan []string)
		go func() { registered <- p.registerUntilItDies(round, m.path, enough) }()
		<-enough
		d.kill(t)
		acknowledged = append(acknowledged, <-registered...)
	}
	p.serve(t)
	p.checkRegistered(t, acknowledged, m)
}

// registerUntilItDies registers images until the server dies, and returns the acknowledged ones. It
// closes enough after a few.
func (p place) registerUntilItDies(round int, source string, enough chan<- struct{}) []string {
	var done []string
	for n := 0; ; n++ {
		name := fmt.Sprintf("image-%d-%d", round, n)
		if err := p.command("", "register "+name+" "+source); err != nil {
			return done
		}
		done = append(done, name)
		if n == 5+3*round { // a few, another number each round
			close(enough)
		}
	}
}

func (p place) checkRegistered(t *testing.T, names []string, m model) {
	t.Helper()
	there := p.images(t)
	for _, name := range names {
		if !slices.Contains(there, name) {
			t.Errorf("%s was acknowledged and is missing", name)
		}
	}
	for _, name := range there {
		if !slices.Contains(names, name) { // the registration that the kill interrupted is done, or will be
			eventually(t, func() string {
				if state := p.status(t, name, "state"); state != "active" {
					return name + " is " + state
				}
				return ""
			})
		}
	}
	if len(there) > 0 {
		m.same(t, p.disk(there[len(there)-1]))
	}
	if more := len(there) - len(names); more > 6 {
		t.Errorf("%d images more than were acknowledged: %q", more, there)
	}
}
