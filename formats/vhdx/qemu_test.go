package vhdx

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// tool finds a program of qemu's, or ends the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("IMSFS_REQUIRE_TOOLS") != "":
		t.Fatalf("this test needs %s (apt-get install qemu-utils): %v", name, err)
	default:
		t.Skipf("this test needs %s (apt-get install qemu-utils): %v", name, err)
	}
	return path
}

func run(t testing.TB, name string, args ...string) (output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// onDisk is a source that is a file.
type onDisk struct {
	*os.File
	size int64
}

func openFile(t testing.TB, path string) onDisk {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return onDisk{f, info.Size()}
}

func (f onDisk) Size() int64 { return f.size }

func (f onDisk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := f.File.ReadAt(p, off)
	return err
}

// wantRaw compares a disk with the raw file that qemu-img makes of the image, byte for byte.
func wantRaw(t *testing.T, image string) {
	t.Helper()
	raw := image + ".raw"
	run(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", image, raw)
	want, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	img := openSource(t, openFile(t, image))
	if img.Info().Size != int64(len(want)) {
		t.Fatalf("the disk has %d bytes, qemu says %d", img.Info().Size, len(want))
	}
	got := make([]byte, len(want))
	if err := img.ReadAt(t.Context(), got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the disk differs from qemu's")
	}
}

// written is what qemu-io wrote, with its offset and length in bytes: the byte fill.
type written struct {
	off, n int64
	fill   byte
}

// wantWritten wants the disk to hold what was written and zeros around it.
func wantWritten(t *testing.T, img formats.Image, w written) {
	t.Helper()
	from, to := max(w.off-4096, 0), min(w.off+w.n+4096, img.Info().Size)
	want := make([]byte, to-from)
	for i := range w.n {
		want[w.off-from+i] = w.fill
	}
	got := make([]byte, to-from)
	if err := img.ReadAt(t.Context(), got, from); err != nil || !bytes.Equal(got, want) {
		t.Errorf("[%d, +%d) is not what was written, or %v", w.off, w.n, err)
	}
}

// TestQemu reads what qemu-img makes, in all sizes of blocks. Small disks are compared with what qemu-img reads; of
// large ones, which it takes minutes to read, with what was written.
func TestQemu(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		size    int64
		options string
		writes  []written
		blocks  []int64 // that hold data
	}{
		{mib, "block_size=1M", nil, nil},
		{512, "block_size=1M", []written{{0, 512, 1}}, []int64{0}},
		{512, "subformat=fixed", nil, nil},
		{20480, "subformat=fixed", []written{{19968, 512, 1}}, []int64{0}},
		{10000896, "block_size=1M", []written{{0, 512, 1}, {3 * mib, mib, 2}, {9999872, 1024, 3}}, []int64{0, 3, 9}},
		{5632000, "subformat=fixed,block_size=1M", []written{{0, 512, 1}, {5631488, 512, 2}}, []int64{0, 5}},
		{20000256, "subformat=fixed", []written{{19999744, 512, 1}}, []int64{2}},
		{24 * mib, "block_size=2M,log_size=4M", []written{{mib, 2 * mib, 1}, {23 * mib, mib, 2}}, []int64{0, 1, 11}},
		{3 * gib, "", []written{{0, 4096, 1}, {2 * gib, 4096, 2}, {3*gib - 4096, 4096, 3}}, []int64{0, 128, 191}},
		{5 * gib, "block_size=1M,block_state_zero=off", []written{{4095 * mib, 2 * mib, 1}, {5119 * mib, mib, 2}}, []int64{4095, 4096, 5119}},
		{40 * gib, "block_size=256M", []written{{4095 * mib, 2 * mib, 1}, {39 * gib, 4096, 2}}, []int64{15, 16, 156}},
		{130 * gib, "", []written{{130*gib - 512, 512, 1}}, []int64{4159}},
		{64 * tib, "", []written{{0, 512, 1}, {64*tib - 512, 512, 2}}, []int64{0, 1<<20 - 1}},
	} {
		t.Run(fmt.Sprint(c.size, " ", c.options), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "a.vhdx")
			args := []string{"create", "-f", "vhdx"}
			if c.options != "" {
				args = append(args, "-o", c.options)
			}
			run(t, "qemu-img", append(args, image, fmt.Sprint(c.size))...)
			io := []string{"-f", "vhdx"}
			for _, w := range c.writes {
				io = append(io, "-c", fmt.Sprintf("write -P %d %d %d", w.fill, w.off, w.n))
			}
			if len(c.writes) > 0 {
				run(t, "qemu-io", append(io, image)...)
			}
			if c.size <= 24*mib {
				wantRaw(t, image)
			}
			img := openSource(t, openFile(t, image))
			for _, w := range c.writes {
				wantWritten(t, img, w)
			}
			wantBlocks(t, img, c.blocks)
			if found := problems(t, openFile(t, image)); len(found) > 0 {
				t.Errorf("check: %v", found)
			}
		})
	}
}

// wantBlocks wants just these blocks to hold data. qemu-img map calls all of a VHDX data, so it is no help.
func wantBlocks(t *testing.T, img formats.Image, want []int64) {
	t.Helper()
	size := img.Info().ClusterSize
	var got []int64
	for _, e := range extents(t, img) {
		if e.State != formats.Data {
			continue
		}
		for off := e.Off; off < e.End(); off += size {
			got = append(got, off/size)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("data in the blocks %v, want %v", got, want)
	}
}

// TestQemuConvert reads what qemu-img convert writes of a disk with data everywhere.
func TestQemuConvert(t *testing.T) {
	dir := t.TempDir()
	raw, image := filepath.Join(dir, "raw"), filepath.Join(dir, "a.vhdx")
	content := formattest.Pattern(0, 9*mib+512)
	clear(content[3*mib+100 : 5*mib])
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{"block_size=1M", "block_size=2M,subformat=fixed", "block_size=8M"} {
		run(t, "qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", options, raw, image)
		wantRaw(t, image)
		img := openSource(t, openFile(t, image))
		got := make([]byte, len(content))
		if err := img.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: other bytes than were converted, or %v", options, err)
		}
		if found := problems(t, openFile(t, image)); len(found) > 0 {
			t.Errorf("%s: check: %v", options, found)
		}
	}
}

// TestQemuReplaysTheSame lets qemu write to the file what the log holds, and compares.
func TestQemuReplaysTheSame(t *testing.T) {
	whole := small.build()
	for name, dirty := range map[string]func() *file{
		"one entry":     func() *file { f := whole.clone(); chosen(f, 0, 1, 0); return f },
		"three entries": func() *file { f := whole.clone(); chosen(f, 0, 1, 0, 0, 0); return f },
		"two writes":    func() *file { f, _ := dirtyFile(); return f },
		"many writes and zeros": func() *file {
			f := whole.clone()
			e := built{sequence: 9, last: uint64(len(f.b))}
			for i := range uint64(125) { // qemu misreads entries of more than one sector of descriptors
				e.updates = append(e.updates, update{off: uint64(f.at[2]) + i*logSector, data: formattest.Pattern(int64(i)*mib, logSector)})
			}
			e.updates = append(e.updates, update{off: uint64(f.at[0]) + logSector, zeros: 3 * logSector})
			f.log(0, e.bytes())
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "a.vhdx")
			f := dirty()
			img := openSource(t, formattest.Bytes(f.b))
			got := make([]byte, img.Info().Size)
			if err := img.ReadAt(t.Context(), got, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(image, f.b, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, "qemu-img", "check", "-q", "-f", "vhdx", "-r", "all", image)
			if log := detail(openSource(t, openFile(t, image)).Info().Details, "log"); log != "empty" {
				t.Fatalf("qemu left the log %s", log)
			}
			wantRaw(t, image)
			after := make([]byte, len(got))
			if err := openSource(t, openFile(t, image)).ReadAt(t.Context(), after, 0); err != nil || !bytes.Equal(got, after) {
				t.Errorf("the disk was another before qemu replayed the log, or %v", err)
			}
		})
	}
}
