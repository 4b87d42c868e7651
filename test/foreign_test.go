package test

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Common programs on the files of a tree.

// TestProgramsFillAVolume: common commands open a disk with O_TRUNC. A volume keeps its size, as a
// block device does.
func TestProgramsFillAVolume(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("half.raw"), mib, 41)
	half := readFile(t, m.path)
	for name, script := range map[string]string{
		"dd":                 `dd if="$1" of="$2" bs=64k status=none`,
		"dd without O_TRUNC": `dd if="$1" of="$2" bs=64k status=none conv=notrunc`,
		"dd with O_DIRECT":   `dd if="$1" of="$2" bs=64k status=none oflag=direct`,
		"cp":                 `cp "$1" "$2"`,
		"cp of holes":        `cp --sparse=always "$1" "$2"`,
		"cat":                `cat "$1" >"$2"`,
		"tee":                `tee "$2" <"$1" >/dev/null`,
		"qemu-img":           `qemu-img convert -n -f raw -O raw "$1" "$2"`,
	} {
		t.Run(name, func(t *testing.T) {
			volume := strings.ReplaceAll(name, " ", "-")
			d.run(t, "", "create "+volume+" size="+strconv.Itoa(2*mib))
			rest := bytes.Repeat([]byte{0xaa}, mib)
			writeAt(t, d.volume(volume, "disk"), rest, mib)
			if name == "cp of holes" { // it leaves out the zeros of the source
				writeAt(t, d.volume(volume, "disk"), make([]byte, mib), 0)
			}
			if r := sh(t, script, m.path, d.volume(volume, "disk")); r.code != 0 {
				t.Fatalf("%+v", r)
			}
			if got := readFile(t, d.volume(volume, "disk")); !bytes.Equal(got, append(bytes.Clone(half), rest...)) {
				t.Errorf("it has %d bytes, and other ones than were written", len(got))
			}
		})
	}
	if err := os.Truncate(d.volume("cat", "disk"), mib); !errors.Is(err, syscall.EPERM) {
		t.Errorf("truncate: %v", err)
	}
}

func writeAt(t *testing.T, path string, p []byte, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(p, off)
	must(t, err)
}

// TestOneProcessWrites: a volume lets one process open its disk for writing, as often as it likes.
func TestOneProcessWrites(t *testing.T) {
	d := serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(256*mib))
	disk := d.volume("one", "disk")
	for _, step := range []string{
		`mkfs.ext4 -qF "$1" 100M`, `e2fsck -fy "$1"`, `resize2fs "$1"`, `e2fsck -fn "$1"`, `mkfs.btrfs -qf "$1"`,
	} {
		if r := sh(t, step, disk); r.code != 0 {
			t.Errorf("%s: %+v", step, r)
		}
	}
	mine, err := os.OpenFile(disk, os.O_RDWR, 0)
	must(t, err)
	again, err := os.OpenFile(disk, os.O_RDWR, 0)
	must(t, err)
	r := sh(t, `exec 3<>"$1"`, disk)
	if r.code == 0 || !strings.Contains(r.stderr, "busy") {
		t.Errorf("a second process: %+v", r)
	}
	must(t, mine.Close())
	if r := sh(t, `exec 3<>"$1"`, disk); r.code == 0 {
		t.Error("a second process while the first has one of two files open")
	}
	must(t, again.Close())
	if r := sh(t, `exec 3<>"$1"`, disk); r.code != 0 {
		t.Errorf("a process after the first: %+v", r)
	}
}

// TestBackupOfTheTree: programs that copy files find as many bytes as stat promises.
func TestBackupOfTheTree(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("web.raw"), mib, 42)
	d.register(t, "web", m.path)
	d.run(t, "web", "clone data")
	for name, script := range map[string]string{
		"tar":   `tar -C "$1" -cf "$2/t.tar" . && tar -tf "$2/t.tar" ./images/web/ctl`,
		"rsync": `rsync -a "$1/" "$2/rsync" && cmp "$1/images/web/disk" "$2/rsync/images/web/disk"`,
		"cp":    `cp -r "$1" "$2/cp" && diff -r -x status "$1" "$2/cp"`,
		"sync":  `sync "$1/images/web/disk" "$1/volumes/data/disk" "$1/images" "$1/ctl"`,
	} {
		t.Run(name, func(t *testing.T) {
			if r := sh(t, script, d.mnt, d.dir); r.code != 0 || r.stderr != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestFreeSpace: df and programs that look for space before they write see that of the store.
func TestFreeSpace(t *testing.T) {
	d := serve(t, "--store-limit", "64MiB")
	if r := sh(t, `df -h`); !strings.Contains(r.stdout, d.mnt) {
		t.Errorf("df does not show the mount:\n%s", r.stdout)
	}
	var st unix.Statfs_t
	must(t, unix.Statfs(d.mnt, &st))
	if size := st.Blocks * uint64(st.Frsize); size != 64*mib || st.Bavail > st.Blocks || st.Namelen != 255 || st.Bsize == 0 {
		t.Errorf("of a store with a limit of 64 MiB: %+v", st)
	}
	p := newPlace(t)
	m := makeModel(t, p.file("web.raw"), mib, 43)
	opened := p.openImage(t, m.path)
	var host unix.Statfs_t
	must(t, unix.Statfs(p.dir, &host))
	must(t, unix.Statfs(p.mnt, &st))
	if st.Blocks*uint64(st.Frsize) != host.Blocks*uint64(host.Frsize) || st.Bsize == 0 {
		t.Errorf("of a single image: %+v, and the image's file system has %+v", st, host)
	}
	opened.stop(t)
}

// TestQemuOnAnOddSize: QEMU with cache=none finds out by trying that a disk takes single sectors,
// and so can use one whose size is no multiple of 4096.
func TestQemuOnAnOddSize(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("odd.raw"), mib+3*512, 44)
	d.register(t, "odd", m.path)
	d.run(t, "odd", "clone one")
	for _, aio := range []string{"threads", "native", "io_uring"} {
		opts := ",cache.direct=on,file.aio=" + aio
		r := sh(t, `qemu-io --image-opts -c "write -P 7 1049600 512" -c "read -P 7 1049600 512" "driver=raw,file.driver=file,file.filename=$1" &&
			qemu-io -r --image-opts -c "read 1049600 512" "driver=raw,file.driver=file,file.filename=$2"`,
			d.volume("one", "disk")+opts, d.disk("odd")+opts)
		if r.code != 0 || strings.Count(r.stdout, "512/512 bytes") != 3 || strings.Contains(r.stdout, "failed") {
			t.Errorf("aio=%s: %+v", aio, r)
		}
	}
}
