package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// labels is a directory of texts that can be edited: at most three, and no value has a blank.
type labels struct {
	mu     sync.Mutex
	values map[string]string
	sets   int
	by     command.Actor // of the last change
}

func (l *labels) dir() tree.Dir {
	return tree.Dir{Thing: is("labels"), List: l.list, Find: l.find, Edit: l}
}

func (l *labels) list() []tree.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []tree.Entry
	for _, name := range slices.Sorted(maps.Keys(l.values)) {
		entries = append(entries, tree.Entry{Name: name, Kind: tree.KindText, Key: is("labels").Key.Named(name)})
	}
	return entries
}

func (l *labels) find(name string) (tree.Node, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.values[name]
	return l.text(name), ok
}

func (l *labels) text(name string) tree.Text {
	return tree.Text{
		Thing: is(is("labels").Key.Named(name)),
		Content: func(command.Actor) string {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.values[name] == "" {
				return ""
			}
			return l.values[name] + "\n"
		},
		Set: func(_ context.Context, by command.Actor, value string) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if strings.Contains(value, " ") {
				return fmt.Errorf("a blank in %q: %w", value, iofs.ErrInvalid)
			}
			l.values[name], l.by = value, by
			l.sets++
			return nil
		},
	}
}

func (l *labels) Create(_ context.Context, _ command.Actor, name string) (tree.Text, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.values) >= 3 {
		return tree.Text{}, fmt.Errorf("three labels at most: %w", syscall.ENOSPC)
	}
	return l.text(name), nil
}

func (l *labels) Remove(_ context.Context, by command.Actor, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.values[name]; !ok {
		return iofs.ErrNotExist
	}
	delete(l.values, name)
	l.by = by
	return nil
}

func (l *labels) state() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.values)
}

// await waits for a state: the kernel tells of the last close after the closing process went on.
func (l *labels) await(t *testing.T, want string) {
	t.Helper()
	limit, again := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for l.state() != want {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("%s, want %s", l.state(), want)
		}
	}
}

// shell runs a script with arguments.
func shell(t *testing.T, script string, args ...string) error {
	t.Helper()
	out, err := exec.Command("bash", append([]string{"-c", script, "bash"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestEditingTexts(t *testing.T) {
	l := &labels{values: map[string]string{}}
	at := mount(t, Config{}, nodes{"labels": l.dir()})
	dir := filepath.Join(at, "labels")
	for _, step := range []struct{ name, script, refusal, want string }{
		{"create", `echo web >"$1/role"`, "", "map[role:web]"},
		{"replace", `echo db >"$1/role"`, "", "map[role:db]"},
		{"append", `echo one >>"$1/new" && echo two >>"$1/new"`, "", "map[new:one\ntwo role:db]"},
		{"a refused value", `echo "a b" >"$1/role"`, "Invalid argument", "map[new:one\ntwo role:db]"},
		{"a refused value of a new one", `echo "a b" >"$1/third"`, "Invalid argument", "map[new:one\ntwo role:db]"},
		{"one too many", `echo x >"$1/third"; echo x >"$1/fourth"`, "No space left", "map[new:one\ntwo role:db third:x]"},
		{"remove", `rm "$1/new" "$1/third"`, "", "map[role:db]"},
		{"touch", `touch "$1/empty"`, "", "map[empty: role:db]"},
		{"empty", `: >"$1/role"`, "", "map[empty: role:]"},
		{"truncate", `echo x >"$1/role"; truncate -s 0 "$1/role"`, "", "map[empty: role:]"},
		{"copy", `echo y >"$1/role"; cp "$1/role" "$1/copy"`, "", "map[copy:y empty: role:y]"},
		{"a longer file", `truncate -s 10 "$1/role"`, "Operation not permitted", "map[copy:y empty: role:y]"},
		{"a directory", `mkdir "$1/sub"`, "Operation not permitted", "map[copy:y empty: role:y]"},
		{"rename", `mv -T "$1/role" "$1/other"`, "Operation not permitted", "map[copy:y empty: role:y]"},
	} {
		t.Run(step.name, func(t *testing.T) {
			err := shell(t, step.script, dir)
			if (err != nil) != (step.refusal != "") || err != nil && !strings.Contains(err.Error(), step.refusal) {
				t.Errorf("%v, want %q", err, step.refusal)
			}
			l.await(t, step.want)
		})
	}
	l.mu.Lock()
	by := l.by
	l.mu.Unlock()
	if by.UID != uint32(os.Getuid()) || by.PID == 0 {
		t.Errorf("the last change was made by %v", by)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("the directory has mode %v, %v", st.Mode(), err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "role"))
	if err != nil || string(b) != "y\n" {
		t.Errorf("role is %q, %v", b, err)
	}
}

func TestEditedTextIsSetOnceForEachWrite(t *testing.T) {
	l := &labels{values: map[string]string{"role": "old"}}
	at := mount(t, Config{}, nodes{"labels": l.dir()})
	must(t, os.WriteFile(filepath.Join(at, "labels", "role"), []byte("new"), 0o644)) // with O_TRUNC
	l.mu.Lock()
	sets := l.sets
	l.mu.Unlock()
	if got := l.state(); sets != 1 || got != "map[role:new]" {
		t.Errorf("%d changes, %s", sets, got)
	}
	f := open(t, filepath.Join(at, "labels", "role"), os.O_RDWR)
	if _, err := f.WriteAt([]byte("x"), 100); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a write past the end: %v", err)
	}
	if _, err := f.WriteAt(make([]byte, maxText+1), 0); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("a text that is too long: %v", err)
	}
	if _, err := f.WriteAt([]byte("E"), 1); err != nil || l.state() != "map[role:nEw]" {
		t.Errorf("a write in the middle: %v, %s", err, l.state())
	}
}

func TestTextsAreMadeForTheirReader(t *testing.T) {
	at := mount(t, Config{AllowOther: true}, nodes{"me": tree.Text{Thing: is("me"), Content: func(by command.Actor) string {
		return fmt.Sprintf("%d %d\n", by.UID, by.GID)
	}}})
	b, err := os.ReadFile(filepath.Join(at, "me"))
	if want := fmt.Sprintf("%d %d\n", os.Getuid(), os.Getgid()); err != nil || string(b) != want {
		t.Errorf("it reads %q, %v; want %q", b, err, want)
	}
	script := `cd "$1" && setpriv --reuid=65534 --regid=65533 --clear-groups cat me`
	if out, err := exec.Command("bash", "-c", script, "bash", at).CombinedOutput(); err != nil || string(out) != "65534 65533\n" {
		t.Errorf("for another user it reads %q, %v", out, err)
	}
}

func TestTextsThatTakeAWhileAreMadeByOpening(t *testing.T) {
	var times atomic.Int64
	at := mount(t, Config{}, nodes{"report": tree.Text{Thing: is("report"), Make: func(context.Context) string {
		return fmt.Sprintln("report", times.Add(1))
	}}})
	path := filepath.Join(at, "report")
	if info, err := os.Stat(path); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o444 || times.Load() != 0 {
		t.Errorf("stat is %v, %v, after %d times", info, err, times.Load())
	}
	for _, want := range []string{"report 1\n", "report 2\n"} {
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("it reads %q, %v; want %q", b, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); !errors.Is(err, syscall.EACCES) {
		t.Errorf("writing it: %v", err)
	}
}
