package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats/all"
)

// console runs commands in this process and keeps what they print.
type console struct {
	*environment
	vars     map[string]string
	out, err bytes.Buffer
}

func newConsole() *console {
	c := &console{vars: map[string]string{}}
	c.environment = &environment{
		stdin:   strings.NewReader(""),
		stdout:  &c.out,
		stderr:  &c.err,
		getenv:  func(key string) string { return c.vars[key] },
		now:     time.Now,
		formats: all.Formats(),
	}
	return c
}

// run returns the exit code; out and err hold what this command printed.
func (c *console) run(ctx context.Context, args ...string) int {
	c.out.Reset()
	c.err.Reset()
	return run(ctx, c.environment, args)
}

// expect runs a command and fails the test unless it ends with the code.
func (c *console) expect(t *testing.T, code int, args ...string) {
	t.Helper()
	if got := c.run(t.Context(), args...); got != code {
		t.Fatalf("imsfs %q: exit code %d, want %d\nstdout: %s\nstderr: %s", args, got, code, &c.out, &c.err)
	}
}

// expectSame compares two images, which must hold the same disk of the same size.
func (c *console) expectSame(t *testing.T, a, b string) {
	t.Helper()
	c.expect(t, 0, "compare", a, b)
	if got := c.out.String(); got != "The disks are equal.\n" {
		t.Errorf("%s and %s: %s", a, b, got)
	}
}

// qemuImg runs qemu-img and returns its output and exit code.
func qemuImg(t *testing.T, args ...string) (string, int) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") == "1" {
			t.Fatalf("IMSFS_REQUIRE_TOOLS=1: %v", err)
		}
		t.Skipf("compares with qemu-img, which is not here: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatalf("qemu-img %q: %v", args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// extent of a test disk: n random bytes at off.
type extent struct{ off, n int64 }

// writeDisk makes a sparse file of size bytes with random data in the extents.
func writeDisk(t *testing.T, path string, size int64, data ...extent) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, e := range data {
		p := make([]byte, e.n)
		rng := rand.NewChaCha8([32]byte{byte(e.off), byte(e.n), 1})
		rng.Read(p)
		if _, err := f.WriteAt(p, e.off); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestWrongCommandLines(t *testing.T) {
	tests := []struct {
		args string
		code int
		says string
	}{
		{"inof x", 2, "perhaps info"},
		{"help nope", 2, `unknown command "nope"`},
		{"help store nope", 2, `unknown command "nope"`},
		{"store nope", 2, `unknown command "nope"`},
		{"store gc", 2, "perhaps sweep"},
		{"completion tcsh", 2, `unknown command "tcsh"`},
		{"export a - -O raw", 2, "imsfs convert"},
		{"register", 2, "wants SOURCE: 0 given"},
		{"rename a b", 2, "perhaps mv"},
		{"delete a", 2, "perhaps rm"},
		{"umount /mnt", 2, `the command "umount MOUNTPOINT"`},
		{"list", 2, "perhaps ls"},
		{"import a b", 2, "perhaps register"},
		{"gc", 2, "perhaps store sweep"},
		{"--nonsense", 2, "--nonsense"},
		{"info", 2, "wants FILE: 0 given"},
		{"info a b", 2, "2 given"},
		{"info --nonsense a", 2, "--nonsense"},
		{"info -f qcow9 a", 2, `unknown format "qcow9"`},
		{"map", 2, "wants FILE"},
		{"convert -O raw a", 2, "wants SRC and DST"},
		{"convert a b", 2, "-O FMT"},
		{"convert -O qcow9 a b", 2, `unknown format "qcow9"`},
		{"convert -O raw --threads -1 a b", 2, "--threads"},
		{"convert -O raw --level -1 a b", 2, "--level"},
		{"convert -O raw --level x a b", 2, "--level"},
		{"version x", 2, "no argument"},
		{"formats x", 2, "no argument"},
		{"check", 1, "wants FILE"},
		{"check --nonsense a", 1, "--nonsense"},
		{"compare a", 2, "wants A and B"},
	}
	c := newConsole()
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			c.expect(t, tt.code, strings.Fields(tt.args)...)
			got := c.err.String()
			if !strings.HasPrefix(got, "imsfs: ") || strings.Count(got, "\n") != 1 || !strings.Contains(got, tt.says) || !strings.Contains(got, "--help)") {
				t.Errorf("stderr %q, want one line with %q and a hint", got, tt.says)
			}
			if c.out.Len() > 0 {
				t.Errorf("stdout %q, want nothing", &c.out)
			}
		})
	}
}

func TestFilesThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	empty := writeDisk(t, filepath.Join(dir, "empty"), 0)
	packed := filepath.Join(dir, "disk.gz")
	if err := os.WriteFile(packed, []byte("\x1f\x8b\x08\x00"), 0o666); err != nil {
		t.Fatal(err)
	}
	files := []struct{ path, says string }{
		{filepath.Join(dir, "missing"), "no such file"},
		{dir, "is a directory"},
		{empty, "empty"},
		{packed, "gzip"},
		{filepath.Join(dir, "new\nline"), "new line: no such file"},
	}
	verbs := []struct {
		args []string
		code int
	}{
		{[]string{"info"}, 1},
		{[]string{"map", "--json"}, 1},
		{[]string{"check"}, 1},
		{[]string{"compare", "/dev/null"}, 2},
		{[]string{"convert", "-O", "raw", "../out"}, 1},
	}
	c := newConsole()
	for _, f := range files {
		for _, v := range verbs {
			args := append(append([]string{}, v.args...), f.path)
			if len(v.args) > 1 && v.args[0] != "map" { // the file comes first
				last := len(args) - 1
				args[last-1], args[last] = args[last], args[last-1]
			}
			t.Run(v.args[0]+"/"+filepath.Base(f.path), func(t *testing.T) {
				c.expect(t, v.code, args...)
				got := c.err.String()
				if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "imsfs: "+strings.ReplaceAll(f.path, "\n", " ")) || !strings.Contains(got, f.says) {
					t.Errorf("stderr %q, want one line that names the file and says %q", got, f.says)
				}
			})
		}
	}
}

func TestHelpAndCompletion(t *testing.T) {
	tests := []struct{ args, says string }{
		{"", "Usage:"},
		{"--help", "convert"},
		{"help exit-codes", "130"},
		{"help convert", "SOURCE_DATE_EPOCH"},
		{"compare --help", "Exit code 0"},
		{"check --help", "63"},
		{"version", "imsfs "},
		{"--version", "imsfs "},
		{"store", "rebuild"},
		{"help ctl", "prefetch [OFF LEN]"},
		{"help store sweep", "imsfs store sweep"},
		{"__complete help con", "convert"},
		{"completion bash", "complete"},
		{"completion zsh", "#compdef"},
		{"completion fish", "complete"},
		{"__complete convert -O r", "raw\n"},
	}
	c := newConsole()
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			c.expect(t, 0, strings.Fields(tt.args)...)
			if !strings.Contains(c.out.String(), tt.says) {
				t.Errorf("stdout lacks %q:\n%s", tt.says, &c.out)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	c := newConsole()
	c.expect(t, 0, "formats")
	lines := strings.Split(strings.TrimSpace(c.out.String()), "\n")
	if len(lines) != 1+len(c.formats.Names()) {
		t.Fatalf("%d lines for %d formats:\n%s", len(lines), len(c.formats.Names()), &c.out)
	}
	if got := strings.Fields(lines[1]); strings.Join(got, " ") != "raw yes yes no" {
		t.Errorf("raw is listed as %q", got)
	}
}

// TestNothingSuggestsRm: words that look like rm do not lead to a command that deletes.
func TestNothingSuggestsRm(t *testing.T) {
	c := newConsole()
	for _, word := range []string{"ps", "rn", "r", "run1", "cat", "arm", "rmm"} {
		c.expect(t, 2, word)
		if strings.Contains(strings.TrimPrefix(c.err.String(), "imsfs: unknown command"), "rm ") {
			t.Errorf("%s: %s", word, &c.err)
		}
	}
}
