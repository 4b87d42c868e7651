package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// clerk is a Commander that notes what it was told.
type clerk struct {
	mu    sync.Mutex
	lines []string
}

func (c *clerk) Do(_ context.Context, call command.Call) error {
	line := call.Line
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
	switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
	case "ok":
		return nil
	case "taken":
		return fmt.Errorf("the name is taken: %w", iofs.ErrExist)
	case "weird":
		return errors.New("something nobody thought of")
	}
	return fmt.Errorf("unknown verb %q: %w", line, iofs.ErrInvalid)
}

func (c *clerk) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

func (c *clerk) Verbs() string { return "ok\ntaken NAME\n" }

func TestControlFile(t *testing.T) {
	c := &clerk{}
	at := mount(t, Config{}, nodes{"ctl": tree.Control{Thing: is("ctl"), Commander: c}})
	ctl := filepath.Join(at, "ctl")
	if verbs, err := os.ReadFile(ctl); err != nil || string(verbs) != c.Verbs() {
		t.Errorf("reading ctl: %q, %v", verbs, err)
	}
	for _, w := range []struct {
		name  string
		flags int
		line  string
		want  error
	}{
		{"echo", os.O_WRONLY | os.O_TRUNC, "ok 1\n", nil},
		{"append", os.O_WRONLY | os.O_APPEND, "ok 2\n", nil},
		{"no newline", os.O_WRONLY, "ok 3", nil},
		{"refused", os.O_WRONLY | os.O_TRUNC, "taken web\n", syscall.EEXIST},
		{"unknown", os.O_WRONLY, "frob\n", syscall.EINVAL},
		{"unforeseen", os.O_WRONLY, "weird\n", syscall.EIO},
	} {
		t.Run(w.name, func(t *testing.T) {
			f := open(t, ctl, w.flags)
			if n, err := f.WriteString(w.line); !errors.Is(err, w.want) || (err == nil && n != len(w.line)) {
				t.Errorf("write = %d, %v; want %v", n, err, w.want)
			}
			if told := c.told(); told[len(told)-1] != w.line {
				t.Errorf("the commander was told %q, want %q", told[len(told)-1], w.line)
			}
		})
	}
	if n := len(c.told()); n != 6 {
		t.Errorf("%d commands for 6 writes", n)
	}
}

func TestControlFileAnswersItsWriter(t *testing.T) {
	at := mount(t, Config{}, nodes{"ctl": tree.Control{Thing: is("ctl"), Commander: &clerk{}}})
	a, b := open(t, filepath.Join(at, "ctl"), os.O_RDWR), open(t, filepath.Join(at, "ctl"), os.O_RDWR)
	a.WriteString("taken web\n")
	b.WriteString("frob\n")
	for _, c := range []struct {
		f    *os.File
		want string
	}{{a, "the name is taken"}, {b, "unknown verb"}} {
		if got, err := io.ReadAll(c.f); err != nil || !strings.HasPrefix(string(got), c.want) {
			t.Errorf("the outcome reads %q, %v; want %q…", got, err, c.want)
		}
	}
	a.WriteString("ok\n")
	if got, err := io.ReadAll(a); err != nil || len(got) != 0 {
		t.Errorf("the outcome of a command that was carried out reads %q, %v", got, err)
	}
}

func TestTextIsOnePieceFromItsOpening(t *testing.T) {
	var version atomic.Int64
	at := mount(t, Config{}, nodes{"status": tree.Text{Thing: is("status"), Content: func(command.Actor) string {
		return strings.Repeat(fmt.Sprintf("version %d\n", version.Load()), 1000)
	}}})
	f := open(t, filepath.Join(at, "status"), os.O_RDONLY)
	head := make([]byte, 10)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	version.Store(1)
	rest, err := io.ReadAll(f)
	if err != nil || bytes.Contains(rest, []byte("version 1")) {
		t.Errorf("an open text changed under its reader (%v)", err)
	}
	if again, _ := os.ReadFile(f.Name()); !bytes.HasPrefix(again, []byte("version 1")) {
		t.Error("opened anew, the text is still the old one")
	}
	if _, err := os.OpenFile(f.Name(), os.O_WRONLY, 0); err == nil {
		t.Error("a text was opened for writing")
	}
}

// stuck is a Commander one of whose commands takes until it is let go.
type stuck struct{ begun, finish chan struct{} }

func (s stuck) Do(_ context.Context, call command.Call) error {
	if call.Line == "long" {
		s.begun <- struct{}{}
		<-s.finish
	}
	return nil
}

func (s stuck) Verbs() string { return "long\nshort\n" }

func TestCommandDoesNotWaitForAnother(t *testing.T) {
	s := stuck{make(chan struct{}), make(chan struct{})}
	at := mount(t, Config{}, nodes{"ctl": tree.Control{Thing: is("ctl"), Commander: s}})
	long, short := open(t, filepath.Join(at, "ctl"), os.O_RDWR), open(t, filepath.Join(at, "ctl"), os.O_WRONLY|os.O_TRUNC)
	done := make(chan error)
	go func() {
		_, err := long.WriteString("long")
		done <- err
	}()
	<-s.begun
	if _, err := short.WriteString(strings.Repeat("short ", 500)); err != nil { // would hang here
		t.Error(err)
	}
	close(s.finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
