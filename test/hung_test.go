package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imsfs/imsfs/lifecycle"
	verbs "github.com/imsfs/imsfs/lifecycle/command"
)

// soon is how long an answer may take that waits for nothing. It is long because the machine that
// runs the tests may be busy; what hangs takes much longer.
const soon = 4 * time.Second

// hungStore is a server with images and volumes whose source answers, and others whose source is on
// a file system that hangs: another server's, which is stopped.
type hungStore struct {
	*daemon
	t      *testing.T
	hangs  *daemon
	export string
}

func newHungStore(t *testing.T) *hungStore {
	t.Helper()
	other := newPlace(t)
	m := makeModel(t, other.file("disk.raw"), 64*mib, 31) // more than the kernel reads ahead
	hangs := other.openImage(t, m.path)
	h := &hungStore{daemon: serve(t), t: t, hangs: hangs}
	h.export = h.file("exports")
	must(t, os.Mkdir(h.export, 0o755))
	good := makeModel(t, h.file("good.raw"), 4*mib, 32)
	h.register(t, "good", good.path)
	h.register(t, "bad", hangs.path("disk"))
	for _, image := range []string{"good", "bad"} {
		h.run(t, image, "clone "+image+"-1")
	}
	h.mayKeep(good.path)
	h.mayKeep(hangs.path("disk"))
	hangs.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { hangs.signal(t, syscall.SIGCONT) })
	return h
}

// begin starts a process that will hang, and kills it when the test ends.
func (h *hungStore) begin(script string, args ...string) {
	h.t.Helper()
	cmd := exec.Command("bash", append([]string{"-c", script, "bash"}, args...)...)
	must(h.t, cmd.Start())
	h.t.Cleanup(func() {
		cmd.Process.Kill()
		h.hangs.signal(h.t, syscall.SIGCONT) // a process in a system call ends when that does
		cmd.Wait()
	})
}

// promptly fails if work takes longer than soon.
func (h *hungStore) promptly(what string, work func()) {
	h.t.Helper()
	begun := time.Now()
	work()
	if took := time.Since(begun); took > soon {
		h.t.Errorf("%s took %v", what, took)
	}
}

// hangEverything gives the bad image and its volume what makes the server wait for their source.
func (h *hungStore) hangEverything() {
	h.t.Helper()
	h.run(h.t, "bad", "hydrate") // first: while another command holds the place of the job, it is refused
	for _, line := range []string{"evict", "export raw " + filepath.Join(h.export, "never")} {
		h.begin(`echo "$1" >"$2"`, line, h.ctl("bad"))
	}
	h.begin(`exec head -c 4096 "$1"`, h.disk("bad"))
	h.begin(`exec head -c 4096 "$1"`, h.volume("bad-1", "disk"))
	h.begin(`exec cat "$1"`, h.path("images", "bad", "inspect"))
	h.begin(`exec ls -l "$1" "$2"`, h.path("images", "bad", "partitions"), h.volume("bad-1", "partitions"))
	h.begin(`echo "register late $1" >"$2"`, h.hangs.path("disk"), h.ctl(""))
	eventually(h.t, func() string {
		if job := read(h.t, filepath.Join(h.files("bad"), "job")); !strings.HasPrefix(job, "RUNNING") && !strings.HasPrefix(job, "QUEUED") {
			return "the job of the image that hangs: " + job
		}
		return ""
	})
}

// lines has a command for every verb of a table, in an order in which they all succeed. %d is a
// number of this round.
var hungLines = map[string][]string{
	"": {"register more-%d SOURCE", "create empty-%d size=4096", "verify", "sweep", "compact", "!cancel"},
	"good": {"set os linux", "tag team ops-%d", "untag team", "clone more-%d", "prefetch", "hydrate", "verify", "evict", "refresh", "export raw EXPORT/image-%d",
		"!cancel", "rename renamed-%d", "delete"},
	"volumes/good-1": {"set os linux", "resize 8388608", "snapshot snap-%d", "commit commit-%d", "export raw EXPORT/volume-%d", "revert",
		"!cancel", "rename renamed-%d", "delete"},
}

// TestNoCommandWaitsForAnothersWorld gives every verb of the tables to targets whose source answers,
// while the source of others hangs.
func TestNoCommandWaitsForAnothersWorld(t *testing.T) {
	for target, table := range map[string][]verbs.Spec{
		"": lifecycle.StoreVerbs(), "good": lifecycle.ImageVerbs(), "volumes/good-1": lifecycle.VolumeVerbs(),
	} {
		for _, verb := range table {
			if !hasVerb(hungLines[target], verb.Name) {
				t.Errorf("the test has no line for the verb %s of %q", verb.Name, target)
			}
		}
	}
	h := newHungStore(t)
	h.hangEverything()
	for _, target := range []string{"", "volumes/good-1", "good"} {
		now := target
		for n, line := range hungLines[target] {
			line = strings.NewReplacer("%d", strconv.Itoa(n), "SOURCE", h.file("good.raw"), "EXPORT", h.export).Replace(line)
			line, refused := strings.CutPrefix(line, "!")
			h.promptly(fmt.Sprintf("%q of %q", line, now), func() {
				if err := h.command(now, line); (err != nil) != refused {
					t.Errorf("%q of %q: %v", line, now, err)
				}
			})
			if name, ok := strings.CutPrefix(line, "rename "); ok {
				now = filepath.Join(filepath.Dir(target), name)
				now = strings.TrimPrefix(now, "./")
			}
			if line != "delete" {
				h.promptly("the job of "+line, func() { h.awaitNoJob(now) })
			}
			h.promptly("every status after "+line, h.readEveryStatus)
		}
	}
	t.Run("and commands on what hangs are refused in time", func(t *testing.T) {
		begun := time.Now()
		h.refused(t, "bad", "evict", syscall.EBUSY) // its job hangs
		h.run(t, "bad", "set os other")
		h.run(t, "bad", "delete")
		if took := time.Since(begun); took > soon {
			t.Errorf("they took %v", took)
		}
	})
}

// awaitNoJob waits until no job of a target runs.
func (h *hungStore) awaitNoJob(target string) {
	h.t.Helper()
	eventually(h.t, func() string {
		job := read(h.t, filepath.Join(h.files(target), "job"))
		if strings.HasPrefix(job, "RUNNING") || strings.HasPrefix(job, "QUEUED") {
			return job
		}
		if strings.HasPrefix(job, "FAILED") {
			h.t.Errorf("%q: %s", target, job)
		}
		return ""
	})
}

func (h *hungStore) readEveryStatus() {
	h.t.Helper()
	read(h.t, h.path("status"))
	for _, kind := range []string{"images", "volumes"} {
		entries, err := os.ReadDir(h.path(kind))
		must(h.t, err)
		for _, e := range entries {
			read(h.t, h.path(kind, e.Name(), "status"))
		}
	}
}

func hasVerb(lines []string, verb string) bool {
	for _, line := range lines {
		if name, _, _ := strings.Cut(strings.TrimPrefix(line, "!"), " "); name == verb {
			return true
		}
	}
	return false
}

// awaitHang waits until a thread of the server waits for the other file system.
func (h *hungStore) awaitHang() {
	h.t.Helper()
	eventually(h.t, func() string {
		places, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", h.cmd.Process.Pid))
		must(h.t, err)
		for _, place := range places {
			at, _ := os.ReadFile(place) // a thread may have ended
			if slices.ContainsFunc([]string{"request_wait_answer", "folio_wait", "fuse"}, func(s string) bool { return strings.Contains(string(at), s) }) {
				return ""
			}
		}
		return "no thread of the server hangs"
	})
}

// TestStopWhileASourceHangs: SIGTERM ends the server although jobs and closings hang, and the store
// opens again.
func TestStopWhileASourceHangs(t *testing.T) {
	h := newHungStore(t)
	h.run(t, "bad", "hydrate")
	h.awaitHang()
	h.log.allow("closing the store") // the reason, if something had to be left
	begun := time.Now()
	h.signal(t, syscall.SIGTERM)
	h.wait(t)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the server ended after %v", took)
	}
	d := h.place.serve(t)
	h.hangs.signal(t, syscall.SIGCONT)
	d.awaitJob(t, "bad")
	if d.status(t, "bad", "complete") != "yes" {
		t.Error("the hydrate was not taken up by the next server")
	}
	d.mayKeep(h.hangs.path("disk"))
}
