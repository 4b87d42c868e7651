package test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledWhileMounting: a server that is killed while it mounts its tree ends, and the next one
// serves the tree.
func TestKilledWhileMounting(t *testing.T) {
	p := newPlace(t)
	for round := range 40 {
		cmd := exec.Command(program, "serve", p.mnt, "--store", p.store)
		must(t, cmd.Start())
		for !p.mounted(t) { // as soon as it can be seen
			if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
				t.Fatal("the server has ended before it mounted")
			}
		}
		<-time.After(time.Duration(round) * 100 * time.Microsecond) // and up to some milliseconds later
		must(t, cmd.Process.Kill())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("round %d: the server cannot end", round)
			mustRun(t, "umount", "-f", p.mnt)
			return
		}
	}
	d := p.serve(t)
	d.log.await(t, "msg=serving")
	if images := d.images(t); len(images) != 0 {
		t.Errorf("images are %q", images)
	}
}

// TestServerThatDoesNotAnswer: serve over the tree of a stopped server fails in time.
func TestServerThatDoesNotAnswer(t *testing.T) {
	d := serve(t)
	d.signal(t, syscall.SIGSTOP)
	defer d.signal(t, syscall.SIGCONT)
	imsfs(t, "serve", d.mnt, "--store", d.file("another")).refused(t, d.mnt, "does not answer", "umount -f")
}

// inAnotherNamespace starts a process with all current mounts in a mount namespace of its own, as a
// container has. end ends it.
func inAnotherNamespace(t *testing.T) (end func()) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	ended := false
	end = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return end
}

// TestStopWithAnotherNamespace: a tree that is mounted in another mount namespace, too, is in use.
func TestStopWithAnotherNamespace(t *testing.T) {
	for _, second := range []bool{true, false} {
		p := newPlace(t)
		d := p.serve(t)
		end := inAnotherNamespace(t)
		d.signal(t, syscall.SIGTERM)
		line := d.log.await(t, "level=WARN", "waiting for those who use the tree")
		if !strings.Contains(line, "namespace") {
			t.Errorf("the log does not say why it waits: %s", line)
		}
		if second {
			d.signal(t, syscall.SIGTERM)
		} else {
			end()
		}
		d.wait(t)
		next := p.serve(t)
		next.stop(t)
	}
}
