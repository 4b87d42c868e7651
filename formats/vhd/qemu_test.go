package vhd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// tool finds a program of qemu's, or skips the test unless the tools are required.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
		t.Fatalf("this test needs %s (apt-get install qemu-utils): %v", name, err)
	}
	t.Skipf("no %s here (apt-get install qemu-utils): %v", name, err)
	return ""
}

func run(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, program), args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, cmd.Stderr)
	}
	return out
}

// file is a formats.Source that knows its holes as far as qemu does: none are told.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func (f file) ReadAt(_ context.Context, p []byte, off int64) error {
	_, err := f.File.ReadAt(p, off)
	return err
}

func openFile(t *testing.T, path string) formats.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return openSource(t, file{f, st.Size()})
}

// wantAsQemu wants an image to have qemu's size, its bytes, and, but for a fixed one, its extents.
func wantAsQemu(t *testing.T, path string) {
	t.Helper()
	img := openFile(t, path)
	raw := path + ".raw"
	run(t, "qemu-img", "convert", "-f", "vpc", "-O", "raw", path, raw)
	want, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if st, err := want.Stat(); err != nil || st.Size() != img.Info().Size {
		t.Fatalf("%d bytes, qemu has %d, %v", img.Info().Size, st.Size(), err)
	}
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); off < img.Info().Size; off += int64(len(a)) {
		n := min(int64(len(a)), img.Info().Size-off)
		if err := img.ReadAt(t.Context(), a[:n], off); err != nil {
			t.Fatal(err)
		}
		if _, err := want.ReadAt(b[:n], off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a[:n], b[:n]) {
			t.Fatalf("the MiB at %d differs from qemu's", off)
		}
	}
	if info := img.Info(); info.Details[0].Value != "fixed" {
		wantMap(t, img, path)
	}
	wantNoProblems(t, path)
}

// mapped is a run of one state, as qemu-img map tells it.
type mapped struct {
	Start, Length int64
	Zero, Data    bool
}

func wantMap(t *testing.T, img formats.Image, path string) {
	t.Helper()
	var listed, want, got []mapped
	if err := json.Unmarshal(run(t, "qemu-img", "map", "-f", "vpc", "--output=json", path), &listed); err != nil {
		t.Fatal(err)
	}
	for _, m := range listed {
		want = joined(want, m)
	}
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		got = joined(got, mapped{e.Off, e.Len, e.State != formats.Data, e.State == formats.Data})
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("extents %v, qemu has %v", got, want)
	}
}

func joined(list []mapped, m mapped) []mapped {
	if n := len(list); n > 0 && list[n-1].Zero == m.Zero && list[n-1].Data == m.Data {
		list[n-1].Length += m.Length
		return list
	}
	return append(list, m)
}

func wantNoProblems(t *testing.T, path string) {
	t.Helper()
	b, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	st, err := b.Stat()
	if err != nil {
		t.Fatal(err)
	}
	err = Driver{}.Check(t.Context(), file{b, st.Size()}, formats.OpenOptions{}, func(p formats.Problem) { t.Errorf("check: %+v", p) })
	if err != nil {
		t.Error(err)
	}
}

// TestAgainstQemu reads what qemu-img makes, of many sizes, empty, sparse, with data in the last sector, and full.
func TestAgainstQemu(t *testing.T) {
	for _, subformat := range []string{"dynamic", "fixed"} {
		for _, force := range []string{"on", "off"} {
			for _, size := range []int64{512, 1<<20 + 512, 2 << 20, 17<<20 + 7*512} {
				t.Run(fmt.Sprintf("%s/force_size=%s/%d", subformat, force, size), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "a.vhd")
					run(t, "qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat="+subformat+",force_size="+force, path, fmt.Sprint(size))
					if size%4096 == 512 {
						wantAsQemu(t, path) // empty
					}
					rnd := rand.New(rand.NewPCG(uint64(size), 3))
					args := []string{"-t", "unsafe", "-f", "vpc", "-c", fmt.Sprintf("write -P 9 %d 512", size-512)}
					for range 4 {
						off := rnd.Int64N(size/512) * 512
						args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", 1+rnd.IntN(254), off, min(size-off, 512*(1+rnd.Int64N(300)))))
					}
					run(t, "qemu-io", append(args, path)...)
					wantAsQemu(t, path)
				})
			}
		}
	}
}

// TestConvertedByQemu reads full disks, and one of more than 127 GiB, whose geometry is the largest.
func TestConvertedByQemu(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk")
	if err := os.WriteFile(raw, formattest.Pattern(0, 7<<20+3*512), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on", "subformat=fixed,force_size=on"} {
		path := filepath.Join(dir, o+".vhd")
		run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", o, raw, path)
		wantAsQemu(t, path)
	}
	for _, o := range []string{"on", "off"} {
		path := filepath.Join(dir, "large-"+o+".vhd")
		run(t, "qemu-img", "create", "-q", "-f", "vpc", "-o", "force_size="+o, path, "137439479296") // 128 GiB and a sector
		run(t, "qemu-io", "-t", "unsafe", "-f", "vpc", "-c", "write -P 1 137438953472 512", "-c", "write -P 2 5G 2M", path)
		img := openFile(t, path)
		wantMap(t, img, path)
		p := make([]byte, 512)
		if err := img.ReadAt(t.Context(), p, 128<<30); err != nil || p[0] != 1 || p[511] != 1 {
			t.Errorf("the sector at 128 GiB is %x…, %v", p[:4], err)
		}
	}
}

// TestCreatorsAgainstQemu wants qemu's size for the creators that qemu of all versions takes alike.
func TestCreatorsAgainstQemu(t *testing.T) {
	dir := t.TempDir()
	for i, app := range []string{"vpc ", "vs  ", "qemu", "qem2", "win ", "d2v ", "tap\x00", "CTXS"} {
		for _, g := range []geometry{{10, 4, 17}, largest} {
			b := &builder{kind: typeDynamic, size: 16 << 20, blockSize: 1 << 20, app: app, geometry: g}
			path := filepath.Join(dir, fmt.Sprint(i, g.cylinders))
			if err := os.WriteFile(path, b.build(), 0o600); err != nil {
				t.Fatal(err)
			}
			var info struct {
				Size int64 `json:"virtual-size"`
			}
			if err := json.Unmarshal(run(t, "qemu-img", "info", "-f", "vpc", "--output=json", path), &info); err != nil {
				t.Fatal(err)
			}
			if got := openFile(t, path).Info().Size; got != info.Size {
				t.Errorf("creator %q, geometry %v: %d bytes, qemu has %d", app, g, got, info.Size)
			}
		}
	}
}

// TestBuildersAgainstQemu wants the builders' images, which other tests rest on, to be what qemu reads them as; for a
// differencing one this takes bitmaps of ones, as qemu knows no others.
func TestBuildersAgainstQemu(t *testing.T) {
	dir := t.TempDir()
	full := child()
	for i := range full.blocks {
		full.blocks[i].bitmap = nil
	}
	dim := small()
	dim.blocks[0].bitmap = []byte{0xf0} // qemu reads what the bitmap calls unused, and so do we
	for name, b := range map[string]*builder{"small": small(), "child": full, "fixed": fixedDisk(12345 * 512)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.build(), 0o600); err != nil {
			t.Fatal(err)
		}
		wantAsQemu(t, path)
	}
	path := filepath.Join(dir, "dim")
	if err := os.WriteFile(path, dim.build(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "convert", "-f", "vpc", "-O", "raw", path, path+".raw")
	want, err := os.ReadFile(path + ".raw")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := openFile(t, path).ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("not as qemu reads it, or %v", err)
	}
}
