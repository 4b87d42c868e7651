package test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tools are common ways to write a line ($1) to a file ($2).
var tools = map[string]string{
	"echo":                  `echo "$1" >"$2"`,
	"printf":                `printf %s "$1" >"$2"`,
	"append":                `echo "$1" >>"$2"`,
	"tee":                   `echo "$1" | tee "$2" >/dev/null`,
	"dd":                    `echo "$1" | dd of="$2" bs=4096 status=none`,
	"dd without a newline":  `printf %s "$1" | dd of="$2" bs=4096 status=none`,
	"dd without truncation": `echo "$1" | dd of="$2" bs=4096 status=none conv=notrunc`,
	"cat":                   `cat >"$2" <<<"$1"`,
}

func TestToolsWriteCommands(t *testing.T) {
	d := serve(t)
	disk := makeModel(t, d.file("a.raw"), 3*mib, 1)
	n := 0
	for name, script := range tools {
		t.Run(name, func(t *testing.T) {
			n++
			image := fmt.Sprintf("image%d", n)
			if r := sh(t, script, "register "+image+" "+disk.path, d.ctl("")); r.code != 0 || r.stderr != "" {
				t.Fatalf("register: exit code %d, %s", r.code, r.stderr)
			}
			if d.lastError(t, "") != "" {
				t.Errorf("error is %q after a command that was carried out", d.lastError(t, ""))
			}
			disk.same(t, d.disk(image))
			r := sh(t, script, "register "+image+" "+disk.path, d.ctl(""))
			r.failed(t, 1, "File exists")
			wantWords(t, "error", d.lastError(t, ""), `"`+image+`"`, "taken")
			if r := sh(t, script, "set os linux", d.ctl(image)); r.code != 0 || read(t, d.path("images", image, "meta", "os")) != "linux\n" {
				t.Errorf("set: exit code %d, %s", r.code, r.stderr)
			}
			if r := sh(t, script, "delete", d.ctl(image)); r.code != 0 {
				t.Errorf("delete: exit code %d, %s", r.code, r.stderr)
			}
			if _, err := os.Stat(d.files(image)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a deleted image is still there: %v", err)
			}
		})
	}
	if left := d.images(t); len(left) != 0 {
		t.Errorf("images %q are left", left)
	}
}

// refusals are commands on the store that must be refused, with the write's error and words of the
// sentence. DIR stands for the test's directory.
var refusals = []struct {
	name, line string
	errno      syscall.Errno
	words      []string
}{
	{"no words", "\n", unix.EINVAL, []string{"empty"}},
	{"unknown verb", "frobnicate it", unix.EINVAL, []string{"frobnicate", "register"}},
	{"too few words", "register a", unix.EINVAL, []string{"register NAME SOURCE"}},
	{"unknown key", "register a DIR/good.raw colour=red", unix.EINVAL, []string{"colour", "os_version"}},
	{"unknown value", "register a DIR/good.raw os=beos", unix.EINVAL, []string{"os=beos", "linux"}},
	{"a key twice", "register a DIR/good.raw os=linux os=linux", unix.EINVAL, []string{"os", "twice"}},
	{"not a key and value", "register a DIR/good.raw fast", unix.EINVAL, []string{"fast", "KEY=VALUE"}},
	{"two lines", "register a DIR/good.raw\nregister b DIR/good.raw\n", unix.EINVAL, []string{"one"}},
	{"an open quote", `register "a DIR/good.raw`, unix.EINVAL, []string{"quote"}},
	{"a control character", "register a\x07 DIR/good.raw", unix.EINVAL, []string{"0x07"}},
	{"not UTF-8", "register a\xff DIR/good.raw", unix.EINVAL, []string{"UTF-8"}},
	{"name taken", "register good DIR/good.raw", unix.EEXIST, []string{`"good"`, "taken"}},
	{"name with a slash", "register a/b DIR/good.raw", unix.EINVAL, []string{"a/b", "slash"}},
	{"name that is a directory", "register .. DIR/good.raw", unix.EINVAL, []string{"NAME=..", "directory"}},
	{"long name", "register " + strings.Repeat("n", 256) + " DIR/good.raw", unix.EINVAL, []string{"255"}},
	{"relative source", "register a good.raw", unix.EINVAL, []string{"good.raw", "absolute"}},
	{"missing source", "register a DIR/missing.raw", unix.ENOENT, []string{"DIR/missing.raw", "no such file"}},
	{"directory", "register a DIR/dir", unix.EISDIR, []string{"DIR/dir", "is a directory"}},
	{"a disk of the tree", "register a DIR/mnt/images/good/disk", unix.EINVAL, []string{"DIR/mnt/images/good/disk", "tree"}},
	{"fifo", "register a DIR/fifo", unix.EINVAL, []string{"DIR/fifo", "neither a file nor a block device"}},
	{"empty source", "register a DIR/empty", unix.EINVAL, []string{"DIR/empty", "empty"}},
	{"foreign format", "register a DIR/gzip", unix.EOPNOTSUPP, []string{"DIR/gzip", "gzip", "raw"}},
	{"unknown format", "register a DIR/good.raw format=betamax", unix.EINVAL, []string{"betamax", "raw"}},
	{"URL", "register a gopher://host/disk", unix.EOPNOTSUPP, []string{"gopher"}},
	{"long line", "register a DIR/good.raw description=" + strings.Repeat("x", 5000), unix.EINVAL, []string{"at most 4095"}},
	{"long but well-formed line", "register a DIR/good.raw" + strings.Repeat(" ", 5000), unix.EINVAL, []string{"at most 4095"}},
}

func TestRefusedCommands(t *testing.T) {
	d := serve(t)
	good := makeModel(t, d.file("good.raw"), mib, 2)
	makeFiles(t, d.place)
	d.register(t, "good", good.path)
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			line := strings.ReplaceAll(c.line, "DIR", d.dir)
			if err := d.command("", line); !errors.Is(err, c.errno) {
				t.Errorf("the write's error is %v, want %v", err, c.errno)
			}
			checkRefusal(t, d.place, c.words)
			r := sh(t, `/usr/bin/printf '%s' "$1" >"$2"`, line, d.ctl(""))
			r.failed(t, 1, strerror(c.errno))
			checkRefusal(t, d.place, c.words)
		})
	}
	good.same(t, d.disk("good"))
}

// TestCutLineIsNotObeyed: a long line that is cut by a pipe or a block size must not become a
// shorter command.
func TestCutLineIsNotObeyed(t *testing.T) {
	d := serve(t)
	good := makeModel(t, d.file("good.raw"), mib, 6)
	line := "register a " + good.path + strings.Repeat(" ", 5000)
	sh(t, `echo "$1" >"$2"`, line, d.ctl("")).failed(t, 1, "write error: Invalid argument")
	sh(t, `printf '%s\n' "$1" | dd of="$2" bs=4096 status=none iflag=fullblock`, line, d.ctl("")).failed(t, 1, "Invalid argument")
	sh(t, `printf '%s\n' "$1" | tee "$2" >/dev/null`, line, d.ctl("")).failed(t, 1, "Invalid argument")
	if left := d.images(t); len(left) != 0 {
		t.Errorf("half a line was obeyed: images %q", left)
	}
}

func checkRefusal(t *testing.T, p place, words []string) {
	t.Helper()
	sentence := p.lastError(t, "")
	if sentence == "" || strings.Contains(sentence, "\n") {
		t.Errorf("error is %q, want one sentence", sentence)
	}
	for _, w := range words {
		wantWords(t, "error", sentence, strings.ReplaceAll(w, "DIR", p.dir))
	}
	if left := p.images(t); len(left) != 1 || left[0] != "good" {
		t.Errorf("a refused command leaves the images %q", left)
	}
}

func makeFiles(t *testing.T, p place) {
	t.Helper()
	must(t, unix.Mkfifo(p.file("fifo"), 0o600))
	must(t, os.Mkdir(p.file("dir"), 0o755))
	for name, text := range map[string]string{"empty": "", "gzip": "\x1f\x8b\x08\x00" + strings.Repeat("\x00", 600)} {
		must(t, os.WriteFile(p.file(name), []byte(text), 0o600))
	}
}

// strerror returns the text that tools print for an errno.
func strerror(no syscall.Errno) string {
	text := no.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func TestRefusedImageCommands(t *testing.T) {
	d := serve(t)
	good := makeModel(t, d.file("good.raw"), mib, 3)
	d.register(t, "good", good.path)
	d.register(t, "other", good.path)
	d.run(t, "good", "set protected yes")
	for _, c := range []struct {
		name, line string
		errno      syscall.Errno
		words      []string
	}{
		{"protected", "delete", unix.EPERM, []string{"protected", "set protected no"}},
		{"unknown verb", "explode", unix.EINVAL, []string{"explode", "delete", "rename", "set"}},
		{"too many words", "delete now", unix.EINVAL, []string{"delete"}},
		{"name taken", "rename other", unix.EEXIST, []string{`"other"`, "taken"}},
		{"name with a slash", "rename a/b", unix.EINVAL, []string{"slash"}},
		{"unknown key", "set colour red", unix.EINVAL, []string{"colour"}},
		{"unknown value", "set min_disk lots", unix.EINVAL, []string{"min_disk", "GiB"}},
		{"long value", "set description " + strings.Repeat("x", 1025), unix.EINVAL, []string{"1024"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := d.command("good", c.line); !errors.Is(err, c.errno) {
				t.Errorf("the write's error is %v, want %v", err, c.errno)
			}
			wantWords(t, "error", d.lastError(t, "good"), c.words...)
			if other := d.lastError(t, "other"); other != "" {
				t.Errorf("another image's error is %q", other)
			}
		})
	}
	d.run(t, "good", "set protected no")
	d.run(t, "good", "delete")
}

// TestClientsReadTheirOwnError: an open control file has its own client's error, while the error
// file has that of the last command.
func TestClientsReadTheirOwnError(t *testing.T) {
	d := serve(t)
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			for round := range 25 {
				verb := fmt.Sprintf("verb-%d-%d", client, round)
				if answer, err := d.errorOf(verb); !strings.Contains(answer, verb) {
					t.Errorf("asked %q, answered %q, %v", verb, answer, err)
				}
				r := d.imsfs(t, "register", verb, d.file(verb))
				if r.code != 1 || !strings.Contains(r.stderr, d.file(verb)) {
					t.Errorf("register %s: exit code %d, %s", verb, r.code, r.stderr)
				}
			}
		})
	}
	clients.Wait()
}

// errorOf writes a command that is refused and reads its error from the same open file.
func (p place) errorOf(line string) (string, error) {
	f, err := os.OpenFile(p.ctl(""), os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err == nil {
		return "", fmt.Errorf("%q was carried out", line)
	}
	answer, err := io.ReadAll(f)
	return string(answer), err
}

func TestControlFilesListTheirVerbs(t *testing.T) {
	d := serve(t)
	disk := makeModel(t, d.file("a.raw"), mib, 4)
	d.register(t, "a", disk.path)
	wantWords(t, "ctl", mustRun(t, "cat", d.ctl("")), "register NAME SOURCE")
	wantWords(t, "an image's ctl", mustRun(t, "cat", d.ctl("a")), "delete", "rename NAME", "set KEY VALUE")
	wantWords(t, "README", mustRun(t, "cat", d.path("README")), "images/NAME/disk", "register")
	for _, file := range []string{d.ctl(""), d.ctl("a"), d.disk("a")} {
		sh(t, `rm -f "$1"`, file).failed(t, 1, "rm: ", "Operation not permitted")
	}
	sh(t, `rmdir "$1"`, d.files("a")).failed(t, 1, "rmdir: ", "Operation not permitted")
	sh(t, `mv "$1" "$1-new"`, d.files("a")).failed(t, 1, "mv: ")
	sh(t, `touch "$1/new"`, d.mnt).failed(t, 1, "touch: ")
	sh(t, `mkdir "$1/images/new"`, d.mnt).failed(t, 1, "mkdir: ")
	if left := d.images(t); len(left) != 1 {
		t.Errorf("images are %q", left)
	}
}

// TestOddNames: any name works as a file name and as a word of a command.
func TestOddNames(t *testing.T) {
	d := serve(t)
	disk := makeModel(t, d.file("a disk.raw"), mib, 5)
	for _, name := range []string{"Debian 12", `back\slash`, `"quoted"`, "größe", "a=b", "disk", "*", strings.Repeat("n", 255)} {
		t.Run(name, func(t *testing.T) {
			if r := d.imsfs(t, "register", name, disk.path); r.code != 0 || r.stdout != d.disk(name)+"\n" {
				t.Fatalf("exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
			}
			disk.same(t, d.disk(name))
			if r := d.imsfs(t, "show", name); r.code != 0 || !strings.Contains(r.stdout, name) {
				t.Errorf("show: %+v", r)
			}
			d.mustImsfs(t, "rm", name)
		})
	}
}
