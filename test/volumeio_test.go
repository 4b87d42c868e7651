package test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVolumeByQemu: writes, zeros, discards and flushes by all of QEMU's cache and aio modes, on
// one disk.
func TestVolumeByQemu(t *testing.T) {
	const share = mib
	modes := []struct{ cache, aio string }{
		{"none", "threads"}, {"none", "native"}, {"none", "io_uring"}, {"directsync", "native"},
		{"writeback", "threads"}, {"writeback", "io_uring"}, {"writethrough", "threads"}, {"writethrough", "io_uring"},
	}
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("base.raw"), int64(len(modes))*share, 17)
	d.register(t, "web", m.path)
	d.run(t, "web", "clone one")
	want := readFile(t, m.path)
	for i, mode := range modes {
		at, part := i*share, want[i*share:][:share]
		script := []string{"-f", "raw", "-t", mode.cache, "-i", mode.aio, "-d", "unmap"}
		say := func(format string, args ...any) { script = append(script, "-c", fmt.Sprintf(format, args...)) }
		fill := func(off, n int, value byte) { copy(part[off:], bytes.Repeat([]byte{value}, n)) }
		say("write -P %d %d 65536", 10+i, at+512)
		fill(512, 65536, byte(10+i))
		say("aio_write -P %d %d 200k", 30+i, at+300*kib)
		say("aio_write -P %d %d 3k", 50+i, at+700*kib+512)
		say("aio_flush")
		fill(300*kib, 200*kib, byte(30+i))
		fill(700*kib+512, 3*kib, byte(50+i))
		say("discard %d 64k", at+320*kib)
		fill(320*kib, 64*kib, 0)
		say("write -z %d 6k", at+701*kib)
		fill(701*kib, 6*kib, 0)
		say("write -f -P %d %d 4k", 70+i, at+900*kib)
		fill(900*kib, 4*kib, byte(70+i))
		say("read -P 0 %d 64k", at+320*kib)
		say("read -P %d %d 16k", 30+i, at+300*kib)
		say("flush")
		r := run(t, "qemu-io", append(script, p.volume("one", "disk"))...)
		if r.code != 0 || r.stderr != "" || strings.Contains(r.stdout, "failed") {
			t.Errorf("cache=%s, aio=%s: exit code %d, %s%s", mode.cache, mode.aio, r.code, r.stdout, r.stderr)
		}
		sameContent(t, p, "one", want)
	}
	d.stop(t)
	p.serve(t)
	sameContent(t, p, "one", want)
}

// TestVolumeSpace: stat and SEEK_DATA report the space that a volume takes.
func TestVolumeSpace(t *testing.T) {
	d := serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(64*mib))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	taken := func(want int64) {
		t.Helper()
		var st unix.Stat_t
		must(t, unix.Stat(d.volume("one", "disk"), &st))
		if st.Blocks*512 != want {
			t.Errorf("stat reports %d bytes, want %d", st.Blocks*512, want)
		}
	}
	data := func(want string) {
		t.Helper()
		var runs []string
		for off := int64(0); ; {
			from, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
			if err == unix.ENXIO {
				break
			}
			must(t, err)
			off, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
			must(t, err)
			runs = append(runs, fmt.Sprintf("%d-%d", from/kib, off/kib))
		}
		if got := strings.Join(runs, " "); got != want {
			t.Errorf("data is in %q (KiB), want %q", got, want)
		}
	}
	taken(0)
	data("")
	_, err = f.WriteAt(make([]byte, 64*kib), 8*kib) // written zeros are data
	must(t, err)
	_, err = f.WriteAt([]byte{1}, 32*mib)
	must(t, err)
	taken(68 * kib)
	data("8-72 32768-32772")
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 16*kib, 16*kib))
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 32*mib, 4*kib))
	taken(48 * kib)
	data("8-16 32-72")
	onHost, err := strconv.ParseInt(strings.Fields(mustRun(t, "du", "-s", "-B1", d.store+"/volumes"))[0], 10, 64)
	if err != nil || onHost > 128*kib {
		t.Errorf("on the host it takes %d bytes, %v", onHost, err)
	}
}
