package volume_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
	"github.com/imsfs/imsfs/inspect/volume"
)

const mib = 1 << 20

// group makes a volume group on two files with LVM's own tools, without activating anything.
func group(t testing.TB, volumes ...[]string) []string {
	t.Helper()
	var files, loops []string
	for range 2 {
		path := treetest.Image(t, 64*mib)
		loop := strings.TrimSpace(treetest.Command(t, "losetup", "mount", "--find", "--show", path))
		t.Cleanup(func() {
			if out, err := exec.Command("losetup", "--detach", loop).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", loop, err, out)
			}
		})
		files, loops = append(files, path), append(loops, loop)
	}
	config := fmt.Sprintf(`devices{use_devicesfile=0 filter=["a|^%s$|","a|^%s$|","r|.*|"] dir="/dev" obtain_device_list_from_udev=0} global{event_activation=0} backup{backup=0 archive=0}`, loops[0], loops[1])
	lvm := func(args ...string) {
		treetest.Command(t, "lvm", "lvm2", append(args, "--driverloaded", "n", "--config", config)...)
	}
	for _, loop := range loops {
		lvm("pvcreate", "-y", "-q", loop)
	}
	lvm(append([]string{"vgcreate", "-q", "-y", "vg"}, loops...)...)
	for _, args := range volumes {
		lvm(append([]string{"lvcreate", "-q", "-y", "-an", "-Zn", "-Wn"}, append(args, "vg")...)...)
	}
	treetest.Command(t, "blockdev", "util-linux", append([]string{"--flushbufs"}, loops[0])...)
	treetest.Command(t, "blockdev", "util-linux", append([]string{"--flushbufs"}, loops[1])...)
	return files
}

func open(t testing.TB, files []string) []volume.Volume {
	t.Helper()
	var members []volume.Member
	for i, path := range files {
		members = append(members, volume.Member{ID: fmt.Sprint(i), Src: disk.New(formattest.OpenFile(t, path))})
	}
	list, notes, err := volume.LVM(t.Context(), members)
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, %q", err, notes)
	}
	return list
}

// fill writes random bytes to the data area of a member, and returns the whole file.
func fill(t *testing.T, path string, seed byte) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rand.NewChaCha8([32]byte{seed}).Read(p[mib:])
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLinearAndStriped(t *testing.T) {
	files := group(t, []string{"-n", "one", "-L", "8M"}, []string{"-n", "two", "-L", "16M", "-i", "2", "-I", "64k"})
	a, b := fill(t, files[0], 1), fill(t, files[1], 2)
	list := open(t, files)
	if len(list) != 2 || list[0].Name != "one" || list[0].Group != "vg" || list[1].Size != 16*mib {
		t.Fatalf("%+v", list)
	}
	want := bytes.Clone(a[mib:][:8*mib]) // pe_start is 1 MiB
	expect(t, list[0], want)
	want = nil
	for off := 0; off < 8*mib; off += 64 << 10 { // "two" begins after "one" on the first member
		want = append(append(want, a[9*mib+off:][:64<<10]...), b[mib+off:][:64<<10]...)
	}
	expect(t, list[1], want)
}

// expect reads a volume in odd pieces.
func expect(t *testing.T, v volume.Volume, want []byte) {
	t.Helper()
	if v.Err != nil || v.Size != int64(len(want)) {
		t.Fatalf("%+v, want %d bytes", v, len(want))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		off := r.IntN(len(want))
		p := make([]byte, 1+r.IntN(min(300_000, len(want)-off)))
		if err := v.Src.ReadAt(t.Context(), p, int64(off)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, want[off:][:len(p)]) {
			t.Fatalf("%s: [%d, +%d) differs", v.Name, off, len(p))
		}
	}
	if err := v.Src.ReadMeta(t.Context(), make([]byte, 2), v.Size-1); err == nil {
		t.Error("a read past the end succeeds")
	}
}

func TestMissingMember(t *testing.T) {
	files := group(t, []string{"-n", "one", "-L", "8M"}, []string{"-n", "two", "-L", "16M", "-i", "2", "-I", "64k"})
	list := open(t, files[:1])
	if len(list) != 2 || list[0].Err != nil || list[1].Err == nil || !strings.Contains(list[1].Err.Error(), "not on this disk") {
		t.Errorf("%+v", list)
	}
}

func FuzzLVM(f *testing.F) {
	files := group(f, []string{"-n", "one", "-L", "8M"})
	head, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head[:16<<10])
	f.Fuzz(func(t *testing.T, p []byte) {
		src := formattest.Sparse{Bytes: 64 * mib, Parts: []formattest.Part{{Data: p}}}
		if len(p) > mib {
			return
		}
		list, _, err := volume.LVM(t.Context(), []volume.Member{{ID: "0", Src: disk.New(src)}})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			if v.Err == nil {
				v.Src.ReadMeta(t.Context(), make([]byte, min(4096, v.Size)), 0)
			}
		}
	})
}
