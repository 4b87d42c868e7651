package vmdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// qemu runs a tool of qemu and returns its output.
func qemu(t testing.TB, tool string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: without qemu-utils there is nothing to compare with", err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(tool, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd, err, stderr.Bytes())
	}
	return out
}

// openFolder gives the files in a directory, without a policy: tests made them.
func openFolder(t testing.TB, dir string) files {
	t.Helper()
	all := files{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all[e.Name()] = openFile(t, filepath.Join(dir, e.Name()))
	}
	return all
}

// mapEntry is an element of qemu-img map's JSON.
type mapEntry struct {
	Start, Length int64
	Zero, Data    bool
	Depth         int
}

// qemuMap lists a disk's runs by whether they are data. That a hole of a flat file is both data and zeros is qemu's way to say
// that it is allocated.
func qemuMap(t testing.TB, path string) []mapEntry {
	t.Helper()
	var all []mapEntry
	if err := json.Unmarshal(qemu(t, "qemu-img", "map", "--output=json", "-f", "vmdk", path), &all); err != nil {
		t.Fatal(err)
	}
	for i, e := range all {
		all[i] = mapEntry{Start: e.Start, Length: e.Length, Data: e.Data && !e.Zero, Zero: e.Zero}
	}
	return merge(all)
}

func merge(all []mapEntry) []mapEntry {
	var merged []mapEntry
	for _, e := range all {
		if n := len(merged); n > 0 && merged[n-1].Data == e.Data && merged[n-1].Zero == e.Zero {
			merged[n-1].Length += e.Length
			continue
		}
		merged = append(merged, e)
	}
	return merged
}

func ourMap(t testing.TB, img formats.Image) []mapEntry {
	t.Helper()
	var all []mapEntry
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, mapEntry{Start: e.Off, Length: e.Len, Data: e.State == formats.Data, Zero: e.State != formats.Data})
	}
	return merge(all)
}

// content is a raw disk with data of several kinds, written by turns with holes.
func content(t testing.TB, path string, size int64, fill string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	put := func(b []byte, off int64) {
		if _, err := f.WriteAt(b[:max(0, min(int64(len(b)), size-off))], off); err != nil {
			t.Fatal(err)
		}
	}
	switch fill {
	case "full":
		put(formattest.Pattern(0, size), 0)
		put(noise, size/3)
	case "last":
		put(formattest.Pattern(size-512, 512), size-512)
	case "some":
		for off := int64(0); off < size; off += 1 + rnd.Int64N(size/4+1) {
			put(formattest.Pattern(off/512*512, 512*(1+rnd.Int64N(500))), off/512*512)
		}
		put(noise, size/2/512*512)
	}
}

// compare opens what qemu-img made of want and wants the same bytes, the same map and a sound check.
func compare(t testing.TB, path string, want []byte) {
	t.Helper()
	beside := openFolder(t, filepath.Dir(path))
	img := openSource(t, beside[filepath.Base(path)], beside)
	if img.Info().Size != int64(len(want)) {
		t.Fatalf("the disk has %d bytes, qemu-img's %d", img.Info().Size, len(want))
	}
	got := make([]byte, len(want))
	for off := 0; off < len(want); off += 1 << 20 {
		end := min(off+1<<20, len(want))
		if err := img.ReadAt(t.Context(), got[off:end], int64(off)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[off:end], want[off:end]) {
			t.Fatalf("other bytes in the MiB at %d", off)
		}
	}
	if got, want := ourMap(t, img), qemuMap(t, path); !slices.Equal(got, want) {
		t.Errorf("map is %v, qemu-img's %v", got, want)
	}
	err := New().Check(t.Context(), beside[filepath.Base(path)], formats.OpenOptions{Files: beside}, func(p formats.Problem) { t.Errorf("check: %+v", p) })
	if err != nil {
		t.Error(err)
	}
}

func TestQemuConverts(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	for _, options := range []string{
		"subformat=monolithicSparse,compat6", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse", "subformat=twoGbMaxExtentFlat",
		"subformat=streamOptimized", "subformat=monolithicSparse,zeroed_grain=on", "subformat=streamOptimized,zeroed_grain=on,hwversion=9,adapter_type=lsilogic",
	} {
		for _, c := range []struct {
			fill string
			size int64
		}{{"some", 512}, {"some", 3<<20 - 1024}, {"some", 33<<20 + 65536 + 512}, {"full", 1<<20 + 512}, {"empty", 1 << 20}, {"last", 33 << 20}} {
			t.Run(fmt.Sprintf("%s/%s/%d", options, c.fill, c.size), func(t *testing.T) {
				raw := filepath.Join(t.TempDir(), "in")
				content(t, raw, c.size, c.fill)
				path := filepath.Join(t.TempDir(), "disk.vmdk")
				qemu(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, path)
				want, err := os.ReadFile(raw)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, path, want)
			})
		}
	}
}

// TestQemuWrites has grains written in any order, discarded and overwritten.
func TestQemuWrites(t *testing.T) {
	for _, options := range []string{"subformat=monolithicSparse,zeroed_grain=on", "subformat=twoGbMaxExtentSparse", "subformat=twoGbMaxExtentFlat"} {
		t.Run(options, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.vmdk")
			size := "5000M" // of three extents
			qemu(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", options, path, size)
			io := []string{"-f", "vmdk"}
			for _, c := range []string{"write -P 3 4999M 1M", "write -P 1 64k 100k", "write -P 2 2047M 2M", "write -P 4 4096M 512", "write -P 5 1M 300k", "write -z 1M 128k", "write -z 3000M 64k"} {
				io = append(io, "-c", c)
			}
			qemu(t, "qemu-io", append(io, path)...)
			beside := openFolder(t, filepath.Dir(path))
			img := openSource(t, beside["disk.vmdk"], beside)
			if got, want := ourMap(t, img), qemuMap(t, path); !slices.Equal(got, want) && !strings.Contains(options, "Flat") {
				t.Errorf("map is %v, qemu-img's %v", got, want)
			}
			for _, want := range []struct {
				off int64
				b   byte
			}{{4999 << 20, 3}, {64 << 10, 1}, {2047 << 20, 2}, {2048 << 20, 2}, {2049<<20 - 1, 2}, {2049 << 20, 0}, {4096 << 20, 4}, {4096<<20 + 512, 0}, {1 << 20, 0}, {1<<20 + 128<<10, 5}, {5000<<20 - 1, 3}} {
				var got [1]byte
				if err := img.ReadAt(t.Context(), got[:], want.off); err != nil || got[0] != want.b {
					t.Errorf("byte %d is %d, want %d: %v", want.off, got[0], want.b, err)
				}
			}
			err := New().Check(t.Context(), beside["disk.vmdk"], formats.OpenOptions{Files: beside}, func(p formats.Problem) {
				if !p.Leak { // qemu leaves grains behind that it makes zeros
					t.Errorf("check: %+v", p)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestQemuBacking reads each layer of a chain by itself.
func TestQemuBacking(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	qemu(t, "qemu-img", "create", "-q", "-f", "vmdk", at("base.vmdk"), "10M")
	qemu(t, "qemu-io", "-f", "vmdk", "-c", "write -P 1 0 1M", at("base.vmdk"))
	qemu(t, "qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", at("base.vmdk"), at("top.vmdk"))
	qemu(t, "qemu-io", "-f", "vmdk", "-c", "write -P 2 512k 1M", at("top.vmdk"))
	base, top := openSource(t, openFile(t, at("base.vmdk")), nil).Info(), openSource(t, openFile(t, at("top.vmdk")), nil)
	b := top.Info().Backing
	if b == nil || b.ID != base.ID || !slices.Equal(b.Paths, []string{at("base.vmdk")}) || b.Format != name || base.Backing != nil {
		t.Errorf("backing is %+v, the base's ID %s", b, base.ID)
	}
	var states []string
	for e, err := range formats.Extents(t.Context(), top, 0, 10<<20) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, fmt.Sprintf("%v %d", e.State, e.Len>>10))
	}
	if got := strings.Join(states, ", "); got != "unallocated 512, data 1024, unallocated 8704" {
		t.Errorf("the top layer is %s", got)
	}
}

// TestQemuReadsOurBuilders has qemu-img read what tests build from the layout page, so that both follow the same page.
func TestQemuReadsOurBuilders(t *testing.T) {
	for name, s := range single() {
		if s.plainTables && s.gtes%128 != 0 || name == "footer, plain" {
			continue // qemu reads odd tables too, but not their directory where it rounds; and no footer of plain grains
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, raw := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "raw")
			if err := os.WriteFile(path, s.build(), 0o600); err != nil {
				t.Fatal(err)
			}
			qemu(t, "qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, raw)
			want, err := os.ReadFile(raw)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, want)
		})
	}
}

func openFile(t testing.TB, path string) formats.Source {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return newFileSource(t, f)
}
