package formattest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// Tool finds a program that a test compares with, or skips the test, unless the tools are required.
func Tool(t testing.TB, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
		t.Fatalf("this test needs %s (apt-get install %s): %v", program, debianPackage, err)
	}
	t.Skipf("no %s here (apt-get install %s): %v", program, debianPackage, err)
	return ""
}

// Qemu runs qemu-img or qemu-io and returns its output.
func Qemu(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Tool(t, program, "qemu-utils"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	return out
}

// QemuExit runs a program that may fail, and returns all that it prints, errors last, and its exit
// code.
func QemuExit(t testing.TB, program string, args ...string) (out []byte, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Tool(t, program, "qemu-utils"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return append(out, stderr.Bytes()...), cmd.ProcessState.ExitCode()
}

// QemuIO lets qemu-io change the disk in an image file.
func QemuIO(t testing.TB, path string, commands ...string) {
	t.Helper()
	var args []string
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	Qemu(t, "qemu-io", append(args, path)...)
}

// File is a source that knows nothing of its holes.
type File struct {
	*os.File
	size int64
}

// OpenFile opens a file until the test ends.
func OpenFile(t testing.TB, path string) File {
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
	return File{f, st.Size()}
}

func (f File) Size() int64 { return f.size }

func (f File) ReadAt(_ context.Context, p []byte, off int64) error {
	_, err := f.File.ReadAt(p, off)
	return err
}

// AsQemu wants the driver to see in the image at path what qemu does, by its name for the format:
// the same bytes and, unless qemu's are those of the file below, the same extents; and it wants
// nothing wrong with the file.
func AsQemu(t *testing.T, d formats.Driver, qemuFormat, path string, extents bool) {
	t.Helper()
	src := OpenFile(t, path)
	img, err := formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), src, "", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw := path + ".raw"
	Qemu(t, "qemu-img", "convert", "-f", qemuFormat, "-O", "raw", path, raw)
	sameBytes(t, img, OpenFile(t, raw))
	if extents {
		sameExtents(t, img, Qemu(t, "qemu-img", "map", "-f", qemuFormat, "--output=json", path))
	}
	c, ok := d.(formats.Checker)
	if !ok {
		return
	}
	if err := c.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) { t.Errorf("check: %+v", p) }); err != nil {
		t.Error(err)
	}
}

func sameBytes(t *testing.T, img formats.Image, raw File) {
	t.Helper()
	size := img.Info().Size
	if size != raw.Size() {
		t.Fatalf("a disk of %d bytes, qemu has %d", size, raw.Size())
	}
	got, want := make([]byte, 3<<20), make([]byte, 3<<20)
	for off := nextData(t, img, raw, 0); off < size; {
		n := min(int64(len(got)), size-off)
		if err := img.ReadAt(t.Context(), got[:n], off); err != nil {
			t.Fatal(err)
		}
		if err := raw.ReadAt(t.Context(), want[:n], off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("the bytes [%d, +%d) differ from qemu's", off, n)
		}
		off = nextData(t, img, raw, off+n)
	}
}

// nextData is the first offset from off on where the image says that it has data, or the file has
// no hole.
func nextData(t *testing.T, img formats.Image, raw File, off int64) int64 {
	t.Helper()
	const seekData = 3
	size := img.Info().Size
	next, err := raw.Seek(off, seekData)
	if err != nil { // there is none
		next = size
	}
	for off < next {
		e, err := img.Extent(t.Context(), off, next-off)
		if err != nil {
			t.Fatal(err)
		}
		if e.State == formats.Data {
			return off
		}
		off = e.End()
	}
	return next
}

func sameExtents(t *testing.T, img formats.Image, qemus []byte) {
	t.Helper()
	var want, got []Mapped
	for _, m := range parseMap(t, qemus) {
		m.Present = false
		want = joined(want, m)
	}
	for _, m := range Map(t, img) {
		m.Present = false
		got = joined(got, m)
	}
	if !slices.Equal(got, want) {
		t.Errorf("extents %v, qemu has %v", brief(got), brief(want))
	}
}

// brief keeps a failure's message on a screen.
func brief(list []Mapped) string {
	if len(list) <= 20 {
		return fmt.Sprint(list)
	}
	return fmt.Sprintf("%v … (%d)", list[:20], len(list))
}
