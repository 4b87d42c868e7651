package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogicalVolumesAreDisks reads a volume that is two runs of its disk, and so is not a section of
// it.
func TestLogicalVolumesAreDisks(t *testing.T) {
	const mib = 1 << 20
	path := filepath.Join(t.TempDir(), "pv")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, 32*mib))
	out, err := exec.Command("losetup", "--find", "--show", path).CombinedOutput()
	if err != nil && os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	detach := func() { tool(t, "", "losetup", "--detach", loop) }
	config := fmt.Sprintf(`devices{use_devicesfile=0 filter=["a|^%s$|","r|.*|"] obtain_device_list_from_udev=0} backup{backup=0 archive=0}`, loop)
	func() {
		defer detach()
		for _, args := range [][]string{{"pvcreate", "-y", "-q", loop}, {"vgcreate", "-y", "-q", "vg", loop},
			{"lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-n", "a", "-L", "4M", "vg"},
			{"lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-n", "b", "-L", "4M", "vg"},
			{"lvextend", "-q", "-y", "-L", "8M", "vg/a"}} {
			tool(t, "", append(append([]string{"lvm"}, args...), "--driverloaded", "n", "--config", config)...)
		}
		tool(t, "", "blockdev", "--flushbufs", loop)
	}()
	all, err := os.ReadFile(path)
	must(t, err)
	rand.NewChaCha8([32]byte{1}).Read(all[mib : 13*mib]) // the volumes: a, b, and the rest of a
	must(t, os.WriteFile(path, all, 0o600))

	root, _ := newStore(t)
	run(t, root, "ctl", "register lvm "+path)
	run(t, root, "images/lvm/ctl", "clone guest")
	if got := strings.Join(names(get[Dir](t, root, "images/lvm/partitions")), " "); got != "whole vg-a vg-b table" {
		t.Fatalf("partitions %q", got)
	}
	want := bytes.Join([][]byte{all[mib:][:4*mib], all[9*mib:][:4*mib]}, nil)
	d, err := get[Disk](t, root, "images/lvm/partitions/vg-a").File.Open(t.Context())
	must(t, err)
	defer d.Close()
	checkReads(t, rand.New(rand.NewPCG(1, 2)), d, want)
	for off := int64(0); off < d.Size(); {
		e, err := d.Extent(t.Context(), off, d.Size()-off)
		must(t, err)
		if e.Off != off || e.Len < 1 || e.End() > d.Size() {
			t.Fatalf("the extent at %d is %+v", off, e)
		}
		off = e.End()
	}
	if got := strings.Join(names(get[Dir](t, root, "volumes/guest/partitions")), " "); got != "whole table" {
		t.Errorf("the volume has %q", got)
	}
}
