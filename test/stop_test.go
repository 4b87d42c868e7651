package test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStopSignals: each signal and umount end the server cleanly, and the store can be opened again
// at once.
func TestStopSignals(t *testing.T) {
	p := newPlace(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		d := p.serve(t)
		d.signal(t, sig)
		d.wait(t)
		d.log.await(t, "msg=stopped")
	}
	d := p.serve(t)
	mustRun(t, "umount", p.mnt)
	d.wait(t)
}

// TestStopWaitsForUsers: the tree stays while a file is open.
func TestStopWaitsForUsers(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 12)
	d.register(t, "disk", m.path)
	open, err := os.Open(d.disk("disk"))
	must(t, err)
	defer open.Close()
	d.signal(t, syscall.SIGTERM)
	d.log.await(t, "level=WARN", "waiting for those who use the tree")
	m.sameFile(t, open, "the open disk")
	must(t, open.Close())
	d.wait(t)
}

// TestSecondSignalForces: a second signal takes the tree away from its users, who get errors then.
func TestSecondSignalForces(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 8*mib, 13)
	d.register(t, "disk", m.path)
	open := d.openDisk(t, "disk")
	d.signal(t, syscall.SIGTERM)
	d.log.await(t, "level=WARN", "waiting for those who use the tree")
	d.signal(t, syscall.SIGTERM)
	d.wait(t)
	if _, err := open.ReadAt(make([]byte, kib), 7*mib); err == nil {
		t.Error("a disk without a server was read")
	}
}

// TestDetachedServer: --daemon returns when the tree answers, and the server goes on.
func TestDetachedServer(t *testing.T) {
	p := newPlace(t)
	log := p.file("log")
	if r := imsfs(t, "serve", p.mnt, "--store", p.store, "--daemon", "--log-file", log); r != (result{}) {
		t.Fatalf("serve --daemon: %+v", r)
	}
	pid := p.serverPID(t)
	m := makeModel(t, p.file("disk.raw"), mib, 14)
	p.register(t, "disk", m.path)
	m.same(t, p.disk("disk"))
	must(t, unix.Kill(pid, unix.SIGTERM))
	var state unix.WaitStatus
	if _, err := unix.Wait4(pid, &state, 0, nil); err != nil || !state.Exited() || state.ExitStatus() != 0 {
		t.Errorf("the server ended with %#x, %v", state, err)
	}
	if p.mounted(t) {
		t.Error("the tree is still mounted")
	}
	lines := strings.Split(read(t, log), "\n")
	checkLog(t, lines, nil, nil)
	wantWords(t, "the log", lines[0], "msg=serving", p.mnt)
}

// serverPID returns the PID in the store's lock file.
func (p place) serverPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(p.store, "lock"))))
	must(t, err)
	return pid
}

// TestDeletedStore: a server whose store was deleted ends by SIGTERM, with an error that says so.
func TestDeletedStore(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 18)
	d.register(t, "disk", m.path)
	must(t, os.RemoveAll(d.store))
	d.signal(t, syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatalf("the server still runs after %v", patience)
	}
	d.over = true
	if code := d.cmd.ProcessState.ExitCode(); code != 1 || d.mounted(t) {
		t.Errorf("it ended with %v, and its tree is mounted: %t", d.cmd.ProcessState, d.mounted(t))
	}
	d.log.await(t, "imsfs: ", d.store, "no such file or directory")
}

// TestRefusedServer: serve reports why it cannot serve, in the foreground and detached.
func TestRefusedServer(t *testing.T) {
	p := newPlace(t)
	must(t, os.MkdirAll(p.file("mnt/full"), 0o755))
	must(t, os.WriteFile(p.file("file"), nil, 0o600))
	mustRun(t, "mkdir", "-p", p.file("notours/x"), p.file("empty"), p.store)
	for _, c := range []struct {
		name, mnt, store string
		words            []string
	}{
		{"missing", p.file("missing/below"), p.store, []string{p.file("missing/below"), "no such file"}},
		{"not a directory", p.file("file"), p.store, []string{p.file("file"), "not a directory"}},
		{"not empty", p.mnt, p.store, []string{p.mnt, "not empty"}},
		{"not a store", p.file("empty"), p.file("notours"), []string{p.file("notours"), `"x"`, "not a store"}},
		{"is the store", p.store, p.store, []string{p.store, "inside the store"}},
		{"store inside", p.file("empty"), p.file("empty/store"), []string{p.file("empty"), "lies inside of it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			imsfs(t, "serve", c.mnt, "--store", c.store).refused(t, c.words...)
			imsfs(t, "serve", c.mnt, "--store", c.store, "--daemon", "--log-file", p.file("log")).refused(t, c.words...)
		})
	}
	d := place{p.dir, p.store, p.file("empty")}.serve(t)
	mustRun(t, "mkdir", p.file("second"))
	imsfs(t, "serve", p.file("second"), "--store", p.store).refused(t, p.store, "process "+strconv.Itoa(d.cmd.Process.Pid))
	mustRun(t, "mkdir", p.store+"/mnt")
	imsfs(t, "serve", p.store+"/mnt", "--store", p.store).refused(t, "inside the store")
	mustRun(t, "rmdir", p.store+"/mnt")
	imsfs(t, "serve", d.mnt, "--store", p.file("another")).refused(t, d.mnt, "already serves", p.store)
	imsfs(t, "serve", p.file("second")).failed(t, 2, "--store DIR")
}

// TestTreeIsFound: clients find the tree by flag, by environment or as the only one, and report if
// they cannot.
func TestTreeIsFound(t *testing.T) {
	imsfs(t, "ls").refused(t, "no tree is mounted")
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 15)
	if r := sh(t, `cd "$1" && "$2" register disk disk.raw os=linux`, d.dir, program); r.code != 0 || r.stdout != d.disk("disk")+"\n" {
		t.Fatalf("register of a relative path: %+v", r)
	}
	if got := d.status(t, "disk", "source"); got != m.path {
		t.Errorf("the source is %q, want %q", got, m.path)
	}
	other := serve(t)
	imsfs(t, "ls").refused(t, "several trees", d.mnt, other.mnt, "--mount", "IMSFS_MOUNT")
	if r := d.imsfs(t, "ls"); r.code != 0 || !strings.Contains(r.stdout, "disk") {
		t.Errorf("ls --mount: %+v", r)
	}
	r := sh(t, `IMSFS_MOUNT="$1" "$2" ls; IMSFS_MOUNT="$1" "$2" ls --mount "$3"`, other.mnt, program, d.mnt)
	if r.code != 0 || strings.Count(r.stdout, "disk") != 1 {
		t.Errorf("IMSFS_MOUNT and --mount: %+v", r)
	}
	imsfs(t, "ls", "--mount", d.dir).refused(t, d.dir, "not a mounted tree")
	d.imsfs(t, "rm", "nobody").refused(t, `"nobody"`)
	makeReachable(t, d.dir)
	must(t, os.Chmod(program, 0o755))
	if r := asNobody(t, `"$1" ls`, program); r.code == 0 || !strings.Contains(r.stderr, "no tree is mounted") {
		t.Errorf("another user finds root's tree: %+v", r)
	}
	d.imsfs(t, "show", "../../etc").refused(t, `"../../etc"`)
}

// TestOpenCommand mounts one image without a store.
func TestOpenCommand(t *testing.T) {
	for _, format := range written {
		t.Run(format, func(t *testing.T) {
			p := newPlace(t)
			m := makeModel(t, p.file("disk.raw"), 7*mib, 16)
			d := p.openImage(t, m.as(t, format))
			m.same(t, p.path("disk"))
			wantWords(t, "status", read(t, p.path("status")), "format "+format, "size ", "source "+p.file("disk.raw"))
			if format == "raw" {
				d.stop(t)
				return
			}
			mustRun(t, "umount", p.mnt)
			d.wait(t)
		})
	}
	p := newPlace(t)
	imsfs(t, "open", p.file("missing"), p.mnt).refused(t, p.file("missing"), "no such file")
	imsfs(t, "open", program, p.file("missing")).refused(t, p.file("missing"), "no such file")
}

// openImage mounts one image and returns when imsfs open has printed the disk's path.
func (p place) openImage(t *testing.T, image string) *daemon {
	t.Helper()
	cmd := exec.Command(program, "open", image, p.mnt)
	said, says, err := os.Pipe()
	must(t, err)
	defer said.Close()
	cmd.Stdout = says
	d := start(t, p, cmd)
	says.Close()
	line := make([]byte, len(p.path("disk"))+1)
	if _, err := io.ReadFull(said, line); err != nil || string(line) != p.path("disk")+"\n" {
		t.Fatalf("imsfs open says %q, %v", line, err)
	}
	return d
}

// TestDetachedByHand: after a lazy umount, stopping the server does not unmount another file system
// that was mounted at the same place.
func TestDetachedByHand(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 17)
	d.register(t, "disk", m.path)
	open, err := os.Open(d.disk("disk"))
	must(t, err)
	defer open.Close()
	mustRun(t, "umount", "--lazy", d.mnt)
	mustRun(t, "mount", "-t", "tmpfs", "theirs", d.mnt)
	defer mustRun(t, "umount", d.mnt)
	mustRun(t, "touch", d.path("precious"))
	d.signal(t, syscall.SIGTERM)
	d.log.await(t, "level=WARN", "waiting for those who use the tree")
	m.sameFile(t, open, "the open disk")
	must(t, open.Close())
	d.wait(t)
	if _, err := os.Stat(d.path("precious")); err != nil {
		t.Errorf("the file system mounted in the tree's place: %v", err)
	}
}

// TestLogReaderLeaves: a server goes on after the reader of its stderr has ended.
func TestLogReaderLeaves(t *testing.T) {
	p := newPlace(t)
	m := makeModel(t, p.file("disk.raw"), mib, 18)
	r := sh(t, `exec 3< <(exec "$1" serve "$2" --store "$3" 2>&1 >/dev/null); read -r line <&3; exec 3<&-
		"$1" register a "$4" --mount "$2" && "$1" mv a b --mount "$2" && cmp "$2/images/b/disk" "$4"; code=$?
		kill "$(cat "$3/lock")"; wait $!; exit $((code + $?))`, program, p.mnt, p.store, m.path)
	if r.code != 0 {
		t.Errorf("after the log's reader left: %+v", r)
	}
	if p.mounted(t) {
		t.Error("the tree is still mounted")
	}
}

// TestClientOfADeadDaemon: a client reports that the daemon has died, and what starts it again, also
// if no flag names the tree.
func TestClientOfADeadDaemon(t *testing.T) {
	p := newPlace(t)
	p.serve(t).kill(t)
	p.imsfs(t, "ls").refused(t, "the daemon of "+p.mnt+" has died", "imsfs serve")
	imsfs(t, "rm", "web").refused(t, "the daemon of "+p.mnt+" has died")
	p.serve(t)
}

// TestServeMakesItsMountPoint: serve creates an absent mount point.
func TestServeMakesItsMountPoint(t *testing.T) {
	p := newPlace(t)
	mustRun(t, "rmdir", p.mnt)
	d := p.serve(t)
	if r := d.imsfs(t, "ls"); r.code != 0 {
		t.Errorf("ls: %+v", r)
	}
}
