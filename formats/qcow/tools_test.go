package qcow

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func newDriver() *Driver { return New() }

// tool runs one of QEMU's programs and returns its output, whatever it exits with but for what keeps it from running.
func tool(t testing.TB, program string, args ...string) (out []byte, code int) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
			t.Fatalf("%s is required: %v", program, err)
		}
		t.Skipf("%s is missing, and nothing can be compared with it: %v", program, err)
	}
	cmd := exec.Command(program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return append(stdout.Bytes(), stderr.Bytes()...), cmd.ProcessState.ExitCode()
}

// qemu runs a program that must do what it is told.
func qemu(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	out, code := tool(t, program, args...)
	if code != 0 {
		t.Fatalf("%s %s: %s", program, strings.Join(args, " "), out)
	}
	return out
}

func qemuImg(t testing.TB, args ...string) []byte { t.Helper(); return qemu(t, "qemu-img", args...) }

// qemuIO lets qemu-io change the disk in an image file.
func qemuIO(t testing.TB, path string, commands ...string) {
	t.Helper()
	var args []string
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	qemu(t, "qemu-io", append(args, path)...)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openBytes opens an image in memory, as the rest of the project does.
func openBytes(t testing.TB, image []byte, opts formats.OpenOptions) formats.Image {
	t.Helper()
	set := formats.Set{Drivers: []formats.Driver{newDriver()}}
	img, err := set.Open(t.Context(), formattest.Bytes(image), "", opts)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func readAll(t testing.TB, img formats.Image) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xdb}, int(img.Info().Size))
	if err := img.ReadAt(t.Context(), b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// mapped is an extent as qemu-img map tells it.
type mapped struct {
	Start, Length int64
	Data, Zero    bool
	Present       bool
}

// qemuMap is qemu-img's map of the image alone. Zeros that it finds in holes of the file are data for who does not look for
// holes.
func qemuMap(t testing.TB, path string) []mapped {
	t.Helper()
	var all []mapped
	if err := json.Unmarshal(qemuImg(t, "map", "--output=json", path), &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].Zero = !all[i].Data
	}
	return merge(all)
}

func ourMap(t testing.TB, img formats.Image) []mapped {
	t.Helper()
	var all []mapped
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, mapped{e.Off, e.Len, e.State == formats.Data, e.State != formats.Data, e.State != formats.Unallocated})
	}
	return merge(all)
}

func merge(all []mapped) []mapped {
	var merged []mapped
	for _, m := range all {
		if n := len(merged) - 1; n >= 0 && merged[n].Data == m.Data && merged[n].Present == m.Present {
			merged[n].Length += m.Length
			continue
		}
		merged = append(merged, m)
	}
	return merged
}
