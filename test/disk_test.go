package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// written are the formats that the program writes, so that any disk can be tested in them.
var written = []string{"raw", "zvhd2"}

// eachFormat runs a test for each format, on a server with the model as the image "disk".
func eachFormat(t *testing.T, size int64, test func(t *testing.T, d *daemon, m model)) {
	t.Helper()
	for _, format := range written {
		t.Run(format, func(t *testing.T) {
			d := serve(t)
			m := makeModel(t, d.file("disk.raw"), size, 7)
			d.register(t, "disk", m.as(t, format))
			if got := d.status(t, "disk", "format"); got != format {
				t.Fatalf("the format is %q, want %q", got, format)
			}
			test(t, d, m)
		})
	}
}

func TestToolsReadDisks(t *testing.T) {
	eachFormat(t, 13*mib+512, func(t *testing.T, d *daemon, m model) {
		for name, script := range map[string]string{
			"cmp":                     `cmp -n $(stat -c %s "$2") "$1" "$2"`,
			"cmp to the end":          `cmp "$1" <(cat "$2"; head -c $(($(stat -c %s "$1") - $(stat -c %s "$2"))) /dev/zero)`,
			"dd 1 MiB":                `cmp -n $(stat -c %s "$2") <(dd if="$1" bs=1M status=none) "$2"`,
			"dd past the cache":       `cmp -n $(stat -c %s "$2") <(dd if="$1" bs=1M iflag=direct status=none) "$2"`,
			"dd of odd blocks":        `cmp -n $(stat -c %s "$2") <(dd if="$1" bs=77777 status=none) "$2"`,
			"dd in the middle":        `cmp <(dd if="$1" bs=1 skip=5000001 count=1000 status=none) <(dd if="$2" bs=1 skip=5000001 count=1000 status=none)`,
			"cp with holes":           `cp --sparse=always "$1" "$2.copy" && cmp -n $(stat -c %s "$2") "$2" "$2.copy" && rm "$2.copy"`,
			"cp that looks for holes": `cp --sparse=auto "$1" "$2.copy" && cmp -n $(stat -c %s "$2") "$2" "$2.copy" && rm "$2.copy"`,
			"qemu-img":                `qemu-img compare -f raw -F raw "$1" "$2"`,
		} {
			t.Run(name, func(t *testing.T) {
				if r := sh(t, "set -e; "+script, d.disk("disk"), m.path); r.code != 0 {
					t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
				}
			})
		}
		m.same(t, d.disk("disk"))
	})
}

// TestDiskAttributes checks size, space and holes, and that writing is refused.
func TestDiskAttributes(t *testing.T) {
	eachFormat(t, 6*mib, func(t *testing.T, d *daemon, m model) {
		disk := d.disk("disk")
		stat := strings.Fields(mustRun(t, "stat", "-c", "%s %b %B %a %h", disk))
		size, allocated := d.status(t, "disk", "size"), d.status(t, "disk", "allocated")
		blocks, err := strconv.ParseInt(allocated, 10, 64)
		must(t, err)
		if want := []string{size, fmt.Sprint(blocks / 512), "512", "444", "1"}; strings.Join(stat, " ") != strings.Join(want, " ") {
			t.Errorf("stat says %q, want %q", stat, want)
		}
		checkHoles(t, disk, m)
		for _, script := range []string{
			`echo x >"$1"`, `echo x >>"$1"`, `dd if=/dev/zero of="$1" count=1 conv=notrunc status=none`, `truncate -s 0 "$1"`, `chmod u+w "$1"`,
		} {
			sh(t, script, disk).failed(t, 1, "Read-only file system")
		}
		m.same(t, disk)
	})
}

// checkHoles walks a disk by SEEK_DATA and SEEK_HOLE. Holes must be zeros, and there must be both
// holes and data.
func checkHoles(t *testing.T, disk string, m model) {
	t.Helper()
	f, err := os.Open(disk)
	must(t, err)
	defer f.Close()
	var holes, data int64
	for off := int64(0); off < m.size; {
		start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			start = m.size
		} else if err != nil {
			t.Fatalf("SEEK_DATA from %#x: %v", off, err)
		}
		want := make([]byte, min(start, m.size)-off)
		m.want(t, want, off)
		if at := firstDifference(want, make([]byte, len(want))); at < len(want) {
			t.Fatalf("there is data at %#x, in a hole from %#x to %#x", off+int64(at), off, start)
		}
		holes += int64(len(want))
		if off = start; off >= m.size {
			break
		}
		if off, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
			t.Fatalf("SEEK_HOLE from %#x: %v", start, err)
		}
		if off <= start {
			t.Fatalf("no data at %#x, where SEEK_DATA found some", start)
		}
		data += off - start
	}
	if data == 0 || (holes == 0 && strings.HasSuffix(m.path, "holes.raw")) {
		t.Errorf("%d bytes of data and %d of holes", data, holes)
	}
	if end, err := unix.Seek(int(f.Fd()), 1<<50, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Errorf("SEEK_DATA past the end: %d, %v", end, err)
	}
}

func TestMappedDisk(t *testing.T) {
	eachFormat(t, 5*mib, func(t *testing.T, d *daemon, m model) {
		f, err := os.Open(d.disk("disk"))
		must(t, err)
		defer f.Close()
		mapped, err := unix.Mmap(int(f.Fd()), 0, int(m.size), unix.PROT_READ, unix.MAP_SHARED)
		must(t, err)
		defer func() {
			if err := unix.Munmap(mapped); err != nil {
				t.Error(err)
			}
		}()
		want := make([]byte, 4*kib)
		for off := m.size - 4*kib; off >= 0; off -= 68 * kib { // backwards: no read-ahead
			m.want(t, want, off)
			if !bytes.Equal(mapped[off:off+4*kib], want) {
				t.Fatalf("the page at %#x is wrong", off)
			}
		}
		m.sameAs(t, bytes.NewReader(mapped), "the mapping")
	})
}

// expectation describes a golden image. It was made with the tool that wrote the image.
type expectation struct {
	Original int64 `json:"original_size"`
	Size     int64 `json:"current_size"`
	Runs     []struct {
		Off int64  `json:"offset"`
		Len int64  `json:"length"`
		Sum string `json:"sha256"`
	} `json:"nonzero_extents"`
}

// TestGoldenImages reads images that other programs wrote. tiny-zlib and tiny-full-index have the
// content of tiny.
func TestGoldenImages(t *testing.T) {
	d := serve(t)
	golden, err := filepath.Glob("../formats/zvhd*/testdata/*.zvhd*")
	if err != nil || len(golden) < 6+3 {
		t.Fatalf("%d golden images, %v", len(golden), err)
	}
	for _, path := range golden {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			image := d.file(name)
			mustRun(t, "cp", path, image)
			d.mustImsfs(t, "register", name, image)
			var want expectation
			described := strings.TrimSuffix(name, filepath.Ext(name))
			described = strings.TrimSuffix(strings.TrimSuffix(described, "-zlib"), "-full-index")
			must(t, json.Unmarshal([]byte(read(t, filepath.Join(filepath.Dir(path), described+".expect.json"))), &want))
			checkGolden(t, d.disk(name), want)
		})
	}
}

func checkGolden(t *testing.T, disk string, want expectation) {
	t.Helper()
	f, err := os.Open(disk)
	must(t, err)
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != want.Size {
		t.Fatalf("size %d, %v; want %d", st.Size(), err, want.Size)
	}
	behind := int64(0)
	for _, run := range want.Runs {
		checkZeros(t, f, behind, run.Off)
		p := make([]byte, run.Len)
		if _, err := f.ReadAt(p, run.Off); err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(p); hex.EncodeToString(sum[:]) != run.Sum {
			t.Errorf("%d bytes at %#x have the wrong hash", run.Len, run.Off)
		}
		behind = run.Off + run.Len
	}
	checkZeros(t, f, behind, want.Size)
}

// checkZeros checks up to 4 MiB at each end of a range.
func checkZeros(t *testing.T, f *os.File, off, end int64) {
	t.Helper()
	for _, at := range []int64{off, max(off, end-4*mib)} {
		p := make([]byte, min(4*mib, end-at))
		if _, err := f.ReadAt(p, at); err != nil {
			t.Fatal(err)
		}
		if i := firstDifference(p, make([]byte, len(p))); i < len(p) {
			t.Errorf("byte %#x is %#x, want 0", at+int64(i), p[i])
		}
	}
}
