package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the ID of a user without rights.
const nobody = 65534

// asNobody runs a bash script as the user nobody.
func asNobody(t *testing.T, script string, args ...string) result {
	t.Helper()
	return run(t, "setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script, "bash"}, args...)...)
}

// makeReachable lets every user enter a directory and those above it.
func makeReachable(t *testing.T, dir string) {
	t.Helper()
	for ; dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
}

// TestOtherUsers: other users see nothing, or with --allow-other may read but give no commands.
func TestOtherUsers(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		var args []string
		name := "as it is"
		if allowed {
			args, name = []string{"--allow-other"}, "allowed"
		}
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			makeReachable(t, p.dir)
			d := p.serve(t, args...)
			m := makeModel(t, d.file("disk.raw"), mib, 20)
			d.register(t, "disk", m.path)
			r := asNobody(t, `cmp "$1" "$2"`, d.disk("disk"), m.path)
			if allowed && r.code != 0 {
				t.Errorf("reading the disk: %+v", r)
			} else if !allowed {
				r.failed(t, 2, "Permission denied")
			}
			asNobody(t, `echo delete >"$1"`, d.ctl("disk")).failed(t, 1, "Permission denied")
			asNobody(t, `echo "register a $2" >"$1"`, d.ctl(""), m.path).failed(t, 1, "Permission denied")
			if images := d.images(t); len(images) != 1 {
				t.Errorf("images are %q", images)
			}
		})
	}
}

// TestUnprivilegedServer: a user's server mounts by fusermount3, and can read only the user's
// files.
func TestUnprivilegedServer(t *testing.T) {
	p := newPlace(t)
	makeReachable(t, p.dir)
	m := makeModel(t, p.file("disk.raw"), 3*mib, 21)
	secret := makeModel(t, p.file("secret.raw"), mib, 22)
	for path, mode := range map[string]os.FileMode{secret.path: 0o600, m.path: 0o644, program: 0o755} {
		must(t, os.Chmod(path, mode))
	}
	openFuse(t, p.file("dev"))
	mustRun(t, "mkdir", p.store)
	mustRun(t, "chown", "65534:65534", p.store, p.mnt)
	cmd := exec.Command(program, "serve", p.mnt, "--store", p.store)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	d := start(t, p, cmd)
	d.log.await(t, "msg=serving")
	if r := asNobody(t, `"$1" register disk "$2" && cmp "$2" "$3"`, program, m.path, p.disk("disk")); r.code != 0 {
		t.Errorf("a user's own disk: %+v", r)
	}
	asNobody(t, `"$1" register secret "$2"`, program, secret.path).refused(t, secret.path, "permission denied")
	asNobody(t, `echo "register secret $2" >"$1"`, p.ctl(""), secret.path).failed(t, 1, "Permission denied")
	if r := asNobody(t, `ls "$1"`, p.path("images")); r.stdout != "disk\n" {
		t.Errorf("images: %+v", r)
	}
	d.stop(t)
}

// openFuse lets every user open /dev/fuse in this run's namespace, as on most machines.
func openFuse(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	for _, step := range []struct{ do, undo []string }{
		{[]string{"mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", dir}, []string{"umount", dir}},
		{[]string{"mknod", "-m", "666", dir + "/fuse", "c", "10", "229"}, []string{"rm", dir + "/fuse"}},
		{[]string{"mount", "--bind", dir + "/fuse", "/dev/fuse"}, []string{"umount", "/dev/fuse"}},
	} {
		mustRun(t, step.do[0], step.do[1:]...)
		t.Cleanup(func() { mustRun(t, step.undo[0], step.undo[1:]...) })
	}
}

// TestServiceManagerIsTold: the server notifies systemd when it is ready.
func TestServiceManagerIsTold(t *testing.T) {
	p := newPlace(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: p.file("notify")})
	must(t, err)
	defer socket.Close()
	cmd := exec.Command(program, "serve", p.mnt, "--store", p.store)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+p.file("notify"))
	start(t, p, cmd)
	must(t, socket.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 100)
	n, err := socket.Read(b)
	if err != nil || !strings.Contains(string(b[:n]), "READY=1") {
		t.Errorf("the service manager got %q, %v", b[:n], err)
	}
	if images := p.images(t); len(images) != 0 {
		t.Errorf("images are %q", images)
	}
}

// TestVolumeOwner: the owner of a volume writes to its disk, as QEMU does when libvirt runs it, and
// gives no commands; other users do not write.
func TestVolumeOwner(t *testing.T) {
	const write = `printf changed | dd of="$1" conv=notrunc status=none`
	p := newPlace(t)
	makeReachable(t, p.dir)
	d := p.serve(t, "--allow-other")
	d.mustImsfs(t, "create", "v", "1MiB")
	disk := p.volume("v", "disk")
	asNobody(t, write, disk).failed(t, 1, "Permission denied")
	d.imsfs(t, "set", "v", "owner", "nobody").refused(t, "UID or UID:GID")
	d.mustImsfs(t, "set", "v", "owner", "65534:65533")
	check := func(t *testing.T) {
		t.Helper()
		if got := mustRun(t, "stat", "-c", "%u:%g", disk); got != "65534:65533" {
			t.Errorf("the disk belongs to %q", got)
		}
		if r := asNobody(t, write, disk); r.code != 0 {
			t.Errorf("the owner writes: %+v", r)
		}
		mustRun(t, "chown", "65534:65533", disk) // as libvirt does before it starts QEMU
		run(t, "chown", "0:0", disk).failed(t, 1, "Operation not permitted")
		asNobody(t, `echo delete >"$1"`, p.volume("v", "ctl")).failed(t, 1, "Permission denied")
	}
	t.Run("set", check)
	d.stop(t)
	d = p.serve(t, "--allow-other")
	t.Run("after a restart", check)
	d.mustImsfs(t, "set", "v", "owner", "")
	asNobody(t, write, disk).failed(t, 1, "Permission denied")
}
