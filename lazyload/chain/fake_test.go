package chain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
)

// script is a format for tests: a file of lines says what the disk is.
//
//	script SIZE         first
//	backing NAME        a name to be tried; more of them follow in order
//	format FMT          of the backing image
//	id ID, parent ID
//	part NAME           a file it consists of
//	compressed CLUSTER  its data is
//	data OFF LEN LETTER
//	zero OFF LEN
type script struct{ reads *atomic.Int64 }

func (script) Name() string { return "script" }

func (script) Probe(ctx context.Context, src formats.Source) (bool, error) {
	b := make([]byte, min(7, src.Size()))
	err := src.ReadAt(ctx, b, 0)
	return string(b) == "script ", err
}

func (d script) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	text := make([]byte, src.Size())
	if err := src.ReadAt(ctx, text, 0); err != nil {
		return nil, err
	}
	img := &scriptImage{driver: d, info: formats.Info{Format: "script", ClusterSize: 512}}
	for line := range strings.Lines(string(text)) {
		verb, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := img.line(ctx, opts, verb, rest); err != nil {
			return nil, err
		}
	}
	if opts.Snapshot != "" {
		img.info.ID = "snapshot " + opts.Snapshot
	}
	img.info.Allocated = img.info.Size
	return img, nil
}

func (i *scriptImage) line(ctx context.Context, opts formats.OpenOptions, verb, rest string) error {
	var e formats.Extent
	letter, err := "\x00", error(nil)
	switch verb {
	case "script":
		_, err = fmt.Sscan(rest, &i.info.Size)
	case "backing":
		i.backing().Paths = append(i.backing().Paths, rest)
	case "format":
		i.backing().Format = rest
	case "parent":
		i.backing().ID = rest
	case "id":
		i.info.ID = rest
	case "part":
		_, err = opts.Files.Open(ctx, rest)
	case "compressed":
		i.info.Compression = "test"
		_, err = fmt.Sscan(rest, &i.info.ClusterSize)
	case "data":
		_, err = fmt.Sscan(rest, &e.Off, &e.Len, &letter)
		e.State = formats.Data
	case "zero":
		_, err = fmt.Sscan(rest, &e.Off, &e.Len)
		e.State = formats.Zero
	default:
		err = fmt.Errorf("the script says %q", verb)
	}
	if e.Len > 0 {
		e.Compressed = e.State == formats.Data && i.info.Compression != ""
		i.extents, i.letters = append(i.extents, e), append(i.letters, letter[0])
	}
	return err
}

type scriptImage struct {
	driver  script
	info    formats.Info
	extents []formats.Extent
	letters []byte
}

func (i *scriptImage) backing() *formats.Backing {
	if i.info.Backing == nil {
		i.info.Backing = &formats.Backing{}
	}
	return i.info.Backing
}

func (i *scriptImage) Info() formats.Info { return i.info }

func (i *scriptImage) at(off int64) (formats.Extent, byte) {
	next := i.info.Size
	for n, e := range i.extents {
		if off >= e.Off && off < e.End() {
			return e, i.letters[n]
		}
		if e.Off > off {
			next = min(next, e.Off)
		}
	}
	return formats.Extent{Off: off, Len: next - off}, 0
}

func (i *scriptImage) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	e, _ := i.at(off)
	e.Len = min(e.End()-off, n)
	e.Off = off
	return e, nil
}

func (i *scriptImage) ReadAt(_ context.Context, p []byte, off int64) error {
	if i.driver.reads != nil && i.info.Compression != "" {
		i.driver.reads.Add(1)
	}
	for n := range p {
		_, p[n] = i.at(off + int64(n))
	}
	return nil
}

// testSet has the format for tests, and raw as what nobody claims.
func testSet() formats.Set {
	return formats.Set{Drivers: []formats.Driver{script{}}, Fallback: raw.Driver{}}
}

// onlyFiles opens files, and follows names into the given directories.
func onlyFiles(allow ...string) source.Opener {
	return source.Opener{Kinds: []source.Kind{file.Kind{AllowDirs: allow}}}
}

// files makes a directory of files by their names; a name that ends with -> is a link.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := makeFile(filepath.Join(dir, name), strings.ReplaceAll(content, "DIR", dir)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// makeFile makes a file or, if its path ends with ->, a link.
func makeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if link, ok := strings.CutSuffix(path, "->"); ok {
		return os.Symlink(content, link)
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// usable fills in what a test does not care about.
func usable(cfg Config) Config {
	if cfg.Formats.Drivers == nil {
		cfg.Formats = testSet()
	}
	if cfg.Sources.Kinds == nil {
		cfg.Sources = onlyFiles()
	}
	return cfg
}

func open(t *testing.T, path string, cfg Config) *Chain {
	t.Helper()
	c, err := Open(t.Context(), path, usable(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// content reads a whole disk as text: a dot is a zero.
func content(t *testing.T, img formats.Image) string {
	t.Helper()
	p := make([]byte, img.Info().Size)
	if err := img.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(p), "\x00", ".")
}
