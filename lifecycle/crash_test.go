package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// childDir tells a copy of this test binary to be the daemon that is killed.
const childDir = "IMSFS_TEST_LIFECYCLE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child runs command after command, telling on stdout what it is about to do and what was
// acknowledged, until it is killed.
func child(dir string) error {
	db, err := kv.Open(filepath.Join(dir, "store"), kv.Options{})
	if err != nil {
		return err
	}
	r, err := Open(context.Background(), db, Config{Formats: formats.Set{Drivers: []formats.Driver{flat{}}}, Sources: files(), Loader: lazyload.New(lazyload.Config{})})
	if err != nil {
		return err
	}
	src := filepath.Join(dir, "source")
	for n := 0; ; n++ {
		name := fmt.Sprintf("%d-%d", os.Getpid(), n)
		if err := r.Do(context.Background(), command.Call{Line: command.Quote("register", name, src)}); err != nil {
			return err
		}
		fmt.Println("registered", name)
		img, err := r.Image(name)
		if err != nil {
			return err
		}
		switch n % 3 {
		case 1:
			fmt.Println("renaming", name)
			if err := img.Do(context.Background(), command.Call{Line: command.Quote("rename", name+"-renamed")}); err != nil {
				return err
			}
			fmt.Println("renamed", name)
		case 2:
			fmt.Println("deleting", name)
			if err := img.Do(context.Background(), command.Call{Line: "delete"}); err != nil {
				return err
			}
			fmt.Println("deleted", name)
		}
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "source"), []byte("FLAThello"), 0o600); err != nil {
		t.Fatal(err)
	}
	last := map[string]string{} // name → the last thing said of it
	for round := range 5 {
		said := runAndKill(t, dir, 15+20*round)
		for _, line := range said {
			what, name, _ := strings.Cut(line, " ")
			last[name] = what
		}
		h := &house{t: t, dir: filepath.Join(dir, "store"), sources: dir}
		h.open()
		ids := map[uint64]bool{}
		for _, img := range h.Images() {
			if ids[img.ID()] {
				t.Errorf("two images have ID %d", img.ID())
			}
			ids[img.ID()] = true
		}
		for name, what := range last {
			checkAfterKill(t, h, name, what)
		}
		h.close()
	}
}

// checkAfterKill checks an image against the last thing the child said of it; what was only about
// to be done may have been done or not.
func checkAfterKill(t *testing.T, h *house, name, what string) {
	t.Helper()
	_, err := h.Image(name)
	_, errRenamed := h.Image(name + "-renamed")
	is, isRenamed := err == nil, errRenamed == nil
	ok := map[string]bool{
		"registered": is && !isRenamed,
		"renaming":   is != isRenamed,
		"renamed":    !is && isRenamed,
		"deleting":   !isRenamed,
		"deleted":    !is && !isRenamed,
	}[what]
	if !ok {
		t.Errorf("%s %s: it is there: %v; under its new name: %v", what, name, is, isRenamed)
	}
}

// runAndKill starts a child, kills it after it said n lines, and returns all it said.
func runAndKill(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer hang.Stop()
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); len(said) == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(said) < n {
		t.Fatalf("the child said only %d lines", len(said))
	}
	return said
}

// TestConcurrentCommands lets many clients fight over few names. Whatever the order was: what is
// seen is what is on disk, every name is one image, and every refusal is one that can be.
func TestConcurrentCommands(t *testing.T) {
	h := newHouse(t)
	src := h.source("shared", "hello")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	names := []string{"a", "b", "c", "d"}
	var wg sync.WaitGroup
	for client := range 8 {
		rnd := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for range 30 {
				if err := act(t, h, rnd, names, src); err != nil && !expected(err) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	before := statuses(h)
	h.reopen()
	if after := statuses(h); !slices.Equal(before, after) {
		t.Errorf("before the restart\n%s\nafter\n%s", before, after)
	}
	if n := descriptors(t, h.sources); n != 0 {
		t.Errorf("%d sources are open after a restart", n)
	}
}

func act(t *testing.T, h *house, rnd *rand.Rand, names []string, src string) error {
	name, other := names[rnd.IntN(len(names))], names[rnd.IntN(len(names))]
	if rnd.IntN(2) == 0 {
		return h.Do(t.Context(), command.Call{Line: command.Quote("register", name, src)})
	}
	img, err := h.Image(name)
	if err != nil {
		return err
	}
	switch rnd.IntN(4) {
	case 0:
		return img.Do(t.Context(), command.Call{Line: "delete"})
	case 1:
		return img.Do(t.Context(), command.Call{Line: command.Quote("rename", other)})
	case 2:
		return img.Do(t.Context(), command.Call{Line: command.Quote("set", "description", other)})
	}
	handle, err := img.Open(t.Context())
	if err != nil {
		return err
	}
	p := make([]byte, 5)
	_, err = handle.ReadAt(t.Context(), p, 0)
	if string(p) != "hello" {
		t.Errorf("read %q, %v", p, err)
	}
	return errors.Join(err, handle.Close())
}

func expected(err error) bool {
	return slices.ContainsFunc([]error{os.ErrExist, os.ErrNotExist, os.ErrClosed, command.ErrBusy}, func(kind error) bool { return errors.Is(err, kind) })
}

// statuses tells of each image what its record says, and not how far the saver is, which goes on by
// itself.
func statuses(h *house) []string {
	var all []string
	for _, img := range h.Images() {
		status, _, _ := strings.Cut(img.Status(), "complete ")
		all = append(all, status+fmt.Sprint(img.Meta()))
	}
	return all
}
