package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// place is a store and a mount point in a directory of the test's own.
type place struct{ dir, store, mnt string }

func newPlace(t *testing.T) place {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("mounting needs root: run the tests as root")
	}
	dir := t.TempDir()
	p := place{dir, filepath.Join(dir, "store"), filepath.Join(dir, "mnt")}
	must(t, os.Mkdir(p.mnt, 0o755))
	return p
}

// daemon is a running server: imsfs serve, or imsfs open.
type daemon struct {
	place
	cmd    *exec.Cmd
	log    *journal
	ended  chan struct{}
	before []string // its descriptors when it was ready
	over   bool     // its end was awaited and checked
}

// serve starts a server in a place of its own.
func serve(t *testing.T, args ...string) *daemon {
	t.Helper()
	return newPlace(t).serve(t, args...)
}

// serve starts a server and returns when it serves. A server that still runs at the end of the test
// is stopped then.
func (p place) serve(t *testing.T, args ...string) *daemon {
	t.Helper()
	ready, its, err := os.Pipe()
	must(t, err)
	defer ready.Close()
	cmd := exec.Command(program, append([]string{"serve", p.mnt, "--store", p.store, "--ready-fd", "3"}, args...)...)
	cmd.ExtraFiles = []*os.File{its}
	d := start(t, p, cmd)
	its.Close()
	must(t, ready.SetReadDeadline(time.Now().Add(patience)))
	if said, err := io.ReadAll(ready); err != nil || string(said) != "ready" {
		t.Fatalf("the server did not become ready: %q, %v", said, err)
	}
	d.before = d.descriptors(t)
	return d
}

// start starts a server's process and watches its stderr.
func start(t *testing.T, p place, cmd *exec.Cmd) *daemon {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	d := &daemon{place: p, cmd: cmd, log: newJournal(), ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		d.log.follow(stderr)
		cmd.Wait() // its error is in ProcessState
	}()
	t.Cleanup(func() { d.remove(t) })
	t.Cleanup(func() {
		if !d.over && !t.Failed() {
			d.stop(t)
		}
	})
	return d
}

// remove ends a server and its mount, also after a failed test.
func (d *daemon) remove(t *testing.T) {
	if !d.over {
		d.kill(t)
	}
	if d.mounted(t) {
		if err := unix.Unmount(d.mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("log of the server at %s:\n%s", d.mnt, strings.Join(d.log.all(), "\n"))
	}
}

// stop ends the server by SIGTERM and checks how it ended.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.checkDescriptors(t)
	d.signal(t, syscall.SIGTERM)
	d.wait(t)
}

// wait waits until a server that was told to stop has ended, and checks how it ended.
func (d *daemon) wait(t *testing.T) {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatalf("the server still runs after %v", patience)
	}
	d.over = true
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server ended with %v, want exit code 0", d.cmd.ProcessState)
	}
	if d.mounted(t) {
		t.Errorf("%s is still mounted", d.mnt)
	}
	d.log.check(t)
}

// kill ends the server as a crash would: its dead mount stays.
func (d *daemon) kill(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGKILL)
	<-d.ended
	d.over = true
	d.log.check(t)
}

func (d *daemon) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// mounted reports whether a tree, dead or alive, is mounted.
func (p place) mounted(t *testing.T) bool {
	t.Helper()
	at, err := trees()
	must(t, err)
	return slices.Contains(at, p.mnt)
}

// descriptors lists the files that the server has open, without those that libraries open and close
// at will: the database's in the store, and the pipes of splice(2).
func (d *daemon) descriptors(t *testing.T) []string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	must(t, err)
	var open []string
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, d.store) && to != "/dev/null" {
			open = append(open, to)
		}
	}
	return open
}

// checkDescriptors finds leaks. No disk is open any more, so the server may have open only the
// files that it had at its start, and the source of each image once, which it keeps for a while.
func (d *daemon) checkDescriptors(t *testing.T) {
	t.Helper()
	if d.before == nil {
		return
	}
	may := count(d.before)
	for _, image := range d.images(t) {
		may[d.status(t, image, "source")]++
	}
	eventually(t, func() (problem string) { // the kernel reports a close after the closing process went on
		if n := d.status(t, "", "opens"); n != "0" {
			return "disks are still open, by the server's count: " + n
		}
		for fd, n := range count(d.descriptors(t)) {
			if most := may[strings.TrimSuffix(fd, " (deleted)")]; n > most {
				problem = fmt.Sprintf("the server has %s open %d times, want at most %d", fd, n, most)
			}
		}
		return problem
	})
}

// mayKeep lets the server keep a source open that no image has any more, because volumes are based
// on it.
func (d *daemon) mayKeep(source string) { d.before = append(d.before, source) }

func count(list []string) map[string]int {
	n := map[string]int{}
	for _, l := range list {
		n[l]++
	}
	return n
}

// journal is a server's log, read as it is written.
type journal struct {
	mu       sync.Mutex
	more     *sync.Cond
	lines    []string
	closed   bool
	expected []string
	allowed  []string
}

func newJournal() *journal {
	j := &journal{}
	j.more = sync.NewCond(&j.mu)
	return j
}

func (j *journal) follow(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		j.mu.Lock()
		j.lines = append(j.lines, s.Text())
		j.mu.Unlock()
		j.more.Broadcast()
	}
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.more.Broadcast()
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// await waits for a line with all the words, and returns it.
func (j *journal) await(t *testing.T, words ...string) string {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		j.mu.Lock()
		late = true
		j.mu.Unlock()
		j.more.Broadcast()
	})
	defer timer.Stop()
	j.mu.Lock()
	defer j.mu.Unlock()
	for seen := 0; ; j.more.Wait() {
		for ; seen < len(j.lines); seen++ {
			if hasAll(j.lines[seen], words) {
				return j.lines[seen]
			}
		}
		if late || j.closed {
			t.Fatalf("the server has logged no line with %q", words)
		}
	}
}

// expect requires an error with these words in the log.
func (j *journal) expect(words string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expected = append(j.expected, words)
}

// allow permits errors with these words in the log. Whether they come may depend on a race that
// does not matter to the test.
func (j *journal) allow(words string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.allowed = append(j.allowed, words)
}

// check fails the test for an error in the log that was not expected, and for an expected one that
// is missing.
func (j *journal) check(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	checkLog(t, j.lines, j.expected, j.allowed)
}

func checkLog(t *testing.T, lines, expected, allowed []string) {
	t.Helper()
	came := map[string]bool{}
	for _, line := range lines {
		if !strings.Contains(line, "DATA RACE") && !strings.Contains(line, "panic") && !strings.Contains(line, "level=ERROR") {
			continue
		}
		said := func(words string) bool { return strings.Contains(line, words) }
		if i := slices.IndexFunc(expected, said); i >= 0 {
			came[expected[i]] = true
		} else if !slices.ContainsFunc(allowed, said) {
			t.Errorf("unexpected in the log: %s", line)
		}
	}
	for _, words := range expected {
		if !came[words] {
			t.Errorf("the log has no error with %q", words)
		}
	}
}

func hasAll(line string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
}
