package vhdx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// parts is a formats.Target that keeps what is written, in ascending pieces.
type parts struct {
	list []formattest.Part
	size int64
}

func (w *parts) WriteAt(p []byte, off int64) (int, error) {
	w.list = append(w.list, formattest.Part{Off: off, Data: bytes.Clone(p)})
	return len(p), nil
}

func (w *parts) Truncate(size int64) error { w.size = size; return nil }

func (w *parts) source() formats.Source { return formattest.Sparse{Bytes: w.size, Parts: w.list} }

func newEncoder(t testing.TB, size int64, opts formats.CreateOptions) formats.Encoder {
	t.Helper()
	e, err := Driver{}.Create(size, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// writeDisk writes the clusters that a disk's parts touch, as a caller of Encoder does.
func writeDisk(t testing.TB, e formats.Encoder, disk formattest.Disk, dst formats.Target) {
	t.Helper()
	last := int64(-1)
	for _, p := range disk.Parts {
		for ci := max(p.Off/clusterSize, last+1); ci*clusterSize < p.End(); ci++ {
			plain := make([]byte, clusterSize)
			disk.Fill(plain, ci*clusterSize)
			chunk, err := e.Encode(nil, plain, ci)
			if err != nil {
				t.Fatal(err)
			}
			off, err := e.Place(ci, len(chunk))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dst.WriteAt(chunk, off); err != nil {
				t.Fatal(err)
			}
			last = ci
		}
	}
	if err := e.Finish(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
}

// writeFile gives the file that is written.
func writeFile(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) []byte {
	t.Helper()
	var dst parts
	writeDisk(t, newEncoder(t, disk.Bytes, opts), disk, &dst)
	file := make([]byte, dst.size)
	if err := dst.source().ReadAt(t.Context(), file, 0); err != nil {
		t.Fatal(err)
	}
	return file
}

// writtenDisks are disks to write, with a block size to ask for.
var writtenDisks = []struct {
	blockSize string
	disk      formattest.Disk
}{
	{"", formattest.Disk{Bytes: 512}},
	{"1M", formattest.Disk{Bytes: 512, Parts: []formattest.Part{{Data: formattest.Pattern(0, 512)}}}},
	{"1MiB", formattest.Disk{Bytes: 10<<20 + 512, Parts: []formattest.Part{
		{Off: 100, Data: formattest.Pattern(100, 5000)}, {Off: 3<<20 - 512, Data: formattest.Pattern(3<<20-512, 1024)}, {Off: 10 << 20, Data: formattest.Pattern(10<<20, 512)}}}},
	{"", formattest.Disk{Bytes: 100<<20 + 512, Parts: []formattest.Part{{Off: 50 << 20, Data: formattest.Pattern(50<<20, 20<<10)}}}},
	{"2097152", formattest.Disk{Bytes: 9 << 30, Parts: []formattest.Part{
		{Off: 4<<30 - 4096, Data: formattest.Pattern(4<<30-4096, 8192)}, {Off: 9<<30 - 512, Data: formattest.Pattern(9<<30-512, 512)}}}},
	{"256M", formattest.Disk{Bytes: 130 << 30, Parts: []formattest.Part{{Off: 130<<30 - 512, Data: formattest.Pattern(130<<30-512, 512)}}}},
	{"", formattest.Disk{Bytes: 130 << 30, Parts: []formattest.Part{{Off: 130<<30 - 512, Data: formattest.Pattern(130<<30-512, 512)}}}},
	{"", formattest.Disk{Bytes: 64 * tib, Parts: []formattest.Part{{Off: 40 * tib, Data: formattest.Pattern(40*tib, 512)}, {Off: 64*tib - 512, Data: formattest.Pattern(64*tib-512, 512)}}}},
}

func setBlockSize(text string) map[string]string {
	if text == "" {
		return nil
	}
	return map[string]string{blockOption: text}
}

func TestWrittenDisksReadBack(t *testing.T) {
	for _, c := range writtenDisks {
		t.Run(fmt.Sprint(c.disk.Bytes, " ", c.blockSize), func(t *testing.T) {
			var dst parts
			writeDisk(t, newEncoder(t, c.disk.Bytes, formats.CreateOptions{Set: setBlockSize(c.blockSize)}), c.disk, &dst)
			img := openSource(t, dst.source())
			wantModel(t, img, c.disk)
			if found := problems(t, dst.source()); len(found) > 0 {
				t.Errorf("check: %v", found)
			}
		})
	}
}

// wantModel compares the disk around the model's parts, and wants no data extent that no part touches.
func wantModel(t *testing.T, img formats.Image, want formattest.Disk) {
	t.Helper()
	if img.Info().Size != want.Bytes {
		t.Errorf("size = %d, want %d", img.Info().Size, want.Bytes)
	}
	for _, p := range want.Parts {
		from, to := max(p.Off-70000, 0), min(p.End()+70000, want.Bytes)
		got, exp := make([]byte, to-from), make([]byte, to-from)
		want.Fill(exp, from)
		if err := img.ReadAt(t.Context(), got, from); err != nil || !bytes.Equal(got, exp) {
			t.Errorf("[%d, %d): other bytes than were written, or %v", from, to, err)
		}
	}
	for _, e := range extents(t, img) {
		touched := false
		for _, p := range want.Parts {
			touched = touched || p.Off < e.End() && e.Off < p.End()
		}
		if touched != (e.State == formats.Data) || !touched && e.State != formats.Zero {
			t.Errorf("extent %+v", e)
		}
	}
}

// TestQemuReadsWhatIsWritten lets qemu-img check and compare.
func TestQemuReadsWhatIsWritten(t *testing.T) {
	for _, c := range writtenDisks[:4] {
		t.Run(fmt.Sprint(c.disk.Bytes, " ", c.blockSize), func(t *testing.T) {
			dir := t.TempDir()
			image, raw := filepath.Join(dir, "a.vhdx"), filepath.Join(dir, "raw")
			f, err := os.Create(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			writeDisk(t, newEncoder(t, c.disk.Bytes, formats.CreateOptions{Set: setBlockSize(c.blockSize)}), c.disk, f)
			r, err := os.Create(raw)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for _, p := range c.disk.Parts {
				if _, err := r.WriteAt(p.Data, p.Off); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Truncate(c.disk.Bytes); err != nil {
				t.Fatal(err)
			}
			run(t, "qemu-img", "check", "-q", "-f", "vhdx", image)
			if out := run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "raw", image, raw); out != "Images are identical.\n" {
				t.Errorf("qemu-img compare: %s", out)
			}
		})
	}
}

// TestQemuReadsTheEndOfLargeDisks looks where the last sector is, as all of such a disk takes minutes to read.
func TestQemuReadsTheEndOfLargeDisks(t *testing.T) {
	for _, c := range writtenDisks[4:] {
		image := filepath.Join(t.TempDir(), "a.vhdx")
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		last := formattest.Part{Off: c.disk.Bytes - 512, Data: bytes.Repeat([]byte{7}, 512)}
		disk := formattest.Disk{Bytes: c.disk.Bytes, Parts: []formattest.Part{{Off: 512, Data: []byte{7, 7, 7, 7}}, last}}
		writeDisk(t, newEncoder(t, c.disk.Bytes, formats.CreateOptions{Set: setBlockSize(c.blockSize)}), disk, f)
		run(t, "qemu-img", "check", "-q", "-f", "vhdx", image)
		run(t, "qemu-io", "-r", "-f", "vhdx", "-c", fmt.Sprintf("read -P 7 %d 512", last.Off), "-c", "read -P 7 512 4", "-c", "read -P 0 1024 512",
			"-c", fmt.Sprintf("read -P 0 %d 1M", last.Off-mib), image)
	}
}

// TestSameBytes: files depend on the disk and the options alone, and every GUID of them on the UUID.
func TestSameBytes(t *testing.T) {
	var files [][]byte
	for _, opts := range []formats.CreateOptions{{}, {Timestamp: 5}, {UUID: [16]byte{0xaa, 0xbb, 0xcc, 0xdd, 1}}} {
		opts.Set = setBlockSize("1M")
		file := writeFile(t, writtenDisks[2].disk, opts)
		files = append(files, file)
		info := openSource(t, formattest.Bytes(file)).Info()
		if opts.UUID[0] != 0 && detail(info.Details, "virtual_disk_id") != "aabbccdd-0100-0000-0000-000000000000" {
			t.Errorf("details: %v", info.Details)
		}
		if detail(info.Details, "file_write_guid") == info.ID || info.ID == (guid{}).String() || info.ID[14] != '8' {
			t.Errorf("GUIDs: %v", info.Details)
		}
	}
	if !bytes.Equal(files[0], files[1]) || bytes.Equal(files[0], files[2]) {
		t.Error("other bytes for the same disk, or the same for another UUID")
	}
}

// TestGolden: what is written stays the same. A file of a few MiB stands here as its hash.
func TestGolden(t *testing.T) {
	file := writeFile(t, writtenDisks[2].disk, formats.CreateOptions{UUID: [16]byte{1, 2, 3}, Set: setBlockSize("1M")})
	const want = "16a528548ef8d0e5a38f50c209eae111ea5e5140bd1369c05db544613d0a09cc"
	if got := fmt.Sprintf("%x", sha256.Sum256(file)); got != want {
		t.Errorf("a file of %d bytes with the SHA-256 %s, want %s", len(file), got, want)
	}
}

func TestUsualBlockSize(t *testing.T) {
	const gib = 1 << 30
	for size, want := range map[int64]int64{
		512: 8 * mib, gib: 8 * mib, gib + 512: 16 * mib, 100 * gib: 16 * mib, 100*gib + 512: 32 * mib, 32 * tib: 32 * mib, 32*tib + 512: 64 * mib, 64 * tib: 64 * mib,
	} {
		var dst parts
		writeDisk(t, newEncoder(t, size, formats.CreateOptions{}), formattest.Disk{Bytes: size}, &dst)
		if got := openSource(t, dst.source()).Info().ClusterSize; got != want {
			t.Errorf("a disk of %d bytes has blocks of %d, want %d", size, got, want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		size int64
		opts formats.CreateOptions
		word string
	}{
		{0, formats.CreateOptions{}, "512"},
		{-512, formats.CreateOptions{}, "512"},
		{513, formats.CreateOptions{}, "512"},
		{64*tib + 512, formats.CreateOptions{}, "64 TiB"},
		{512, formats.CreateOptions{Level: 1}, "not compressed"},
		{512, formats.CreateOptions{Set: map[string]string{"blocksize": "1M"}}, "known are block_size"},
		{512, formats.CreateOptions{Set: setBlockSize("3M")}, `block_size="3M"`},
		{512, formats.CreateOptions{Set: setBlockSize("512K")}, "from 1MiB to 256MiB"},
		{512, formats.CreateOptions{Set: setBlockSize("512M")}, "from 1MiB to 256MiB"},
		{512, formats.CreateOptions{Set: setBlockSize("1Mi")}, "from 1MiB to 256MiB"},
		{512, formats.CreateOptions{Set: setBlockSize("-1M")}, "from 1MiB to 256MiB"},
		{512, formats.CreateOptions{Set: setBlockSize("99999999999999999999")}, "from 1MiB to 256MiB"},
		{512, formats.CreateOptions{Set: map[string]string{blockOption: ""}}, "from 1MiB to 256MiB"},
	} {
		if _, err := (Driver{}).Create(c.size, c.opts); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("Create(%d, %+v) = %v, want %q", c.size, c.opts, err, c.word)
		}
	}
}

func TestEncoderRefusesMisuse(t *testing.T) {
	e := newEncoder(t, 4*clusterSize, formats.CreateOptions{})
	for _, c := range []struct{ n, ci int64 }{{clusterSize, 4}, {clusterSize, -1}, {512, 0}} {
		if _, err := e.Encode(nil, make([]byte, c.n), c.ci); err == nil {
			t.Errorf("Encode of %d bytes for cluster %d was accepted", c.n, c.ci)
		}
	}
	if _, err := e.Place(2, clusterSize); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ci int64
		n  int
	}{{2, clusterSize}, {1, clusterSize}, {-1, clusterSize}, {4, clusterSize}, {3, 512}} {
		if _, err := e.Place(c.ci, c.n); err == nil {
			t.Errorf("Place(%d, %d) was accepted", c.ci, c.n)
		}
	}
}

func TestFinishTellsOfEveryFailedWrite(t *testing.T) {
	e := newEncoder(t, 16<<20, formats.CreateOptions{})
	for left := range 8 { // BAT, metadata, two region tables, two headers, identifier, size
		if err := e.Finish(t.Context(), &formattest.Failing{Left: left}); !errors.Is(err, formattest.ErrFull) {
			t.Errorf("write %d failed and Finish = %v", left, err)
		}
	}
	if err := e.Finish(t.Context(), &formattest.Failing{Left: 8}); err != nil {
		t.Errorf("eight operations are not enough: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Finish(ctx, &parts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Finish = %v", err)
	}
}
