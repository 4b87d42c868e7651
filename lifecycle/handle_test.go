package lifecycle

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// descriptors counts this process's open files below a directory.
func descriptors(t *testing.T, dir string) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

func TestHandlesShareADisk(t *testing.T) {
	h := newHouse(t)
	img := h.register("a", "hello")
	var handles []*pool.Handle
	for range 3 {
		handles = append(handles, mustOpen(t, img))
	}
	if n := descriptors(t, h.sources); n != 1 {
		t.Errorf("3 handles hold %d files", n)
	}
	if handles[0].Disk != handles[2].Disk {
		t.Error("handles on different disks")
	}
	for i, one := range handles {
		if got := content(t, one); got != "hello" {
			t.Errorf("handle %d reads %q", i, got)
		}
		for range 2 { // the second Close must not count
			if err := one.Close(); err != nil {
				t.Error(err)
			}
		}
		if got, want := value(t, img.Status(), "opens"), strconv.Itoa(2-i); got != want {
			t.Errorf("%s handles, want %s", got, want)
		}
	}
	// Idle, it is used again.
	again := mustOpen(t, img)
	defer again.Close()
	if again.Disk != handles[0].Disk {
		t.Error("an idle disk was opened anew")
	}
}

func TestIdleDisksAreBounded(t *testing.T) {
	h := newHouse(t)
	var images []*Image
	for i := range pool.MaxIdle + 5 {
		images = append(images, h.register("i"+strconv.Itoa(i), "x"))
	}
	h.settle() // and what they had to close
	if n := descriptors(t, h.sources); n != pool.MaxIdle {
		t.Errorf("%d disks are open after registering %d, want %d", n, len(images), pool.MaxIdle)
	}
	var handles []*pool.Handle
	for _, img := range images {
		handles = append(handles, mustOpen(t, img))
	}
	if n := descriptors(t, h.sources); n != len(images) {
		t.Errorf("%d disks are open, want all %d", n, len(images))
	}
	for _, one := range handles {
		one.Close()
	}
	h.settle()
	if n := descriptors(t, h.sources); n != pool.MaxIdle {
		t.Errorf("%d disks are kept idle, want %d", n, pool.MaxIdle)
	}
	h.close()
	if n := descriptors(t, h.sources); n != 0 {
		t.Errorf("%d disks are open after Close", n)
	}
}

func TestDeletedImageServesItsHandles(t *testing.T) {
	h := newHouse(t)
	img := h.register("a", "hello")
	one, two := mustOpen(t, img), mustOpen(t, img)
	h.do(img, "delete")
	h.register("a", "another") // also writes over the file: a new image of the same name and source
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if n := descriptors(t, h.sources); n != 2 {
		t.Errorf("%d files are open, want that of the deleted image and that of the new one", n)
	}
	if got := value(t, img.Status(), "state") + value(t, img.Status(), "opens"); got != "deleted1" {
		t.Errorf("status of the deleted image:\n%s", img.Status())
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	if n := descriptors(t, h.sources); n != 1 {
		t.Errorf("%d files are open after the last handle, want the new image's", n)
	}
}

func TestDeletedImageIsRead(t *testing.T) {
	h := newHouse(t)
	img := h.register("a", "hello")
	handle := mustOpen(t, img)
	h.do(img, "delete")
	if err := os.Remove(filepath.Join(h.sources, "a")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, handle); got != "hello" {
		t.Errorf("the handle reads %q", got)
	}
	// It outlives the registry, too; the harness checks that the loader gets all memory back.
	registry := h.Registry
	if err := registry.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, handle); got != "hello" {
		t.Errorf("after Close the handle reads %q", got)
	}
	if err := handle.Close(); err != nil {
		t.Error(err)
	}
	if n := descriptors(t, h.sources); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

func TestChangedSourceIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string) error
		kind   error
		word   string
	}{
		"missing":   {os.Remove, iofs.ErrNotExist, "no such file"},
		"truncated": {func(p string) error { return os.Truncate(p, 6) }, source.ErrChanged, "truncated from 9 to 6 bytes"},
		"grown":     {func(p string) error { return os.Truncate(p, 60) }, source.ErrChanged, "grown"},
		"written": {func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("J"), 4)
			return errors.Join(err, f.Close())
		}, source.ErrChanged, "written to"},
		"replaced": {func(p string) error {
			return errors.Join(os.WriteFile(p+".new", []byte("FLATother"), 0o600), os.Rename(p+".new", p))
		}, source.ErrChanged, "another file"},
		"a directory": {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, nil, "is a directory"},
	} {
		for _, when := range []string{"idle", "open", "restarted"} {
			t.Run(name+"/"+when, func(t *testing.T) {
				h := newHouse(t)
				img := h.register("a", "hello")
				if when == "open" {
					handle := mustOpen(t, img)
					defer handle.Close()
				}
				if err := c.change(filepath.Join(h.sources, "a")); err != nil {
					t.Fatal(err)
				}
				if when == "restarted" {
					h.reopen()
					img = h.image("a")
				}
				_, err := img.Open(t.Context())
				if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
					t.Fatalf("Open = %v, want %v", err, c.kind)
				}
				for _, w := range []string{`image "a"`, filepath.Join(h.sources, "a"), c.word} {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("error %q does not tell %q", err, w)
					}
				}
				if got := value(t, img.Status(), "error"); got != err.Error() {
					t.Errorf("status has error %q, want %q", got, err)
				}
				if img.record().State != catalog.Active {
					t.Errorf("state %s", img.record().State)
				}
			})
		}
	}
}

func TestSourceThatComesBackIsServed(t *testing.T) {
	h := newHouse(t)
	h.register("a", "hello")
	h.reopen()
	img := h.image("a")
	// As a file system that is unmounted and mounted: the file itself is not touched.
	if err := os.Rename(h.sources, h.sources+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := img.Open(t.Context()); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Open = %v", err)
	}
	if err := os.Rename(h.sources+".away", h.sources); err != nil {
		t.Fatal(err)
	}
	handle := mustOpen(t, img)
	defer handle.Close()
	if got := content(t, handle); got != "hello" {
		t.Errorf("reads %q", got)
	}
	if got := value(t, img.Status(), "error"); got != "(no error)" {
		t.Errorf("status still has error %q", got)
	}
}

func TestConcurrentOpensOpenOnce(t *testing.T) {
	h := newHouse(t)
	h.register("a", "hello")
	h.reopen()
	img := h.image("a")
	var wg sync.WaitGroup
	var mu sync.Mutex
	disks := map[any]int{}
	for range 16 {
		wg.Go(func() {
			for range 20 {
				handle, err := img.Open(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				disks[handle.Disk]++
				mu.Unlock()
				if got := content(t, handle); got != "hello" {
					t.Errorf("reads %q", got)
				}
				handle.Close()
			}
		})
	}
	wg.Wait()
	if len(disks) != 1 {
		t.Errorf("%d disks were opened", len(disks))
	}
}
