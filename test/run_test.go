package test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// fakeQemu replaces QEMU: it records its arguments, writes a word to its disk, and ends with a
// given code.
const fakeQemu = `#!/bin/bash
printf '%s\n' "$@" >"$FAKE/args"
disk=$(sed -n 's/^if=virtio.*,file=//p' "$FAKE/args")
printf booted | dd of="$disk" conv=notrunc status=none
trap 'exit 0' TERM
echo booted
# A signal just before bash blocks is seen when that ends: so it must not block for ever.
while [ "$FAKE_CODE" = wait ]; do read -r -t 0.1 _ <>"$FAKE/never"; done
exit "$FAKE_CODE"
`

// withFakeQemu prepares a run whose machine ends with code, or by a signal if code is "wait".
func (p place) withFakeQemu(t *testing.T, code string, args ...string) *exec.Cmd {
	t.Helper()
	must(t, os.WriteFile(p.file("qemu-system-x86_64"), []byte(fakeQemu), 0o755))
	if _, err := os.Stat(p.file("never")); err != nil {
		must(t, syscall.Mkfifo(p.file("never"), 0o600))
	}
	cmd := exec.Command(program, append([]string{"run", "--mount", p.mnt}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+p.dir+":"+os.Getenv("PATH"), "FAKE="+p.dir, "FAKE_CODE="+code)
	return cmd
}

func (p place) volumes(t *testing.T) string {
	t.Helper()
	return mustRun(t, "ls", p.path("volumes"))
}

// TestRunVolume: a volume keeps its machine's writes, and the command has the machine's exit code.
func TestRunVolume(t *testing.T) {
	d := serve(t)
	d.run(t, "", "create fresh size=1048576")
	cmd := d.withFakeQemu(t, "3", "--exec", "fresh", "--", "-nographic")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 3 || string(out) != "booted\n" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if got := string(readFile(t, d.volume("fresh", "disk"))[:6]); got != "booted" {
		t.Errorf("the volume begins with %q", got)
	}
	if args := read(t, d.file("args")); !strings.HasSuffix(args, "\n-nographic\n") {
		t.Errorf("the arguments end in\n%s", args)
	}
}

// TestRunImage: an image's machine runs on a clone, which is deleted however the machine ends.
func TestRunImage(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 3)
	d.run(t, "", `register "my web" `+m.path)
	cmd := d.withFakeQemu(t, "0", "--exec", "my web")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	wantWords(t, "the arguments", read(t, d.file("args")), "/volumes/my web-run-")
	if left := d.volumes(t); left != "" {
		t.Errorf("%s is left", left)
	}

	script := d.withFakeQemu(t, "0", "my web")
	text, err := script.Output()
	must(t, err)
	shell := exec.Command("sh", "-e", "-c", string(text))
	shell.Env = script.Env
	if out, err := shell.CombinedOutput(); err != nil || string(out) != "booted\n" {
		t.Errorf("the output as a script: %v: %s\n%s", err, out, text)
	}
	if left := d.volumes(t); left != "" {
		t.Errorf("after the script %s is left", left)
	}

	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		cmd = d.withFakeQemu(t, "wait", "--exec", "my web")
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || said != "booted\n" {
			t.Fatalf("it says %q, %v", said, err)
		}
		must(t, cmd.Process.Signal(sig))
		cmd.Wait() // its error is in ProcessState
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("%v: exit code %d, want 130", sig, code)
		}
		if left := d.volumes(t); left != "" {
			t.Errorf("after %v %s is left", sig, left)
		}
	}
	m.same(t, d.disk("my web"))

	cmd = d.withFakeQemu(t, "0", "--exec", "my web")
	cmd.Env = append(cmd.Env, "PATH=/nonexistent")
	r, _ := cmd.CombinedOutput()
	wantWords(t, "without QEMU, stderr", string(r), "qemu-system-x86_64", "not found", "qemu-system-x86")
	if left := d.volumes(t); left != "" {
		t.Errorf("without QEMU %s is left", left)
	}
}
