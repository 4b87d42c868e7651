package inspect_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

// TestRootOnLVM finds a system on a logical volume of a partition.
func TestRootOnLVM(t *testing.T) {
	pv := treetest.Image(t, 128*mib)
	loop := strings.TrimSpace(treetest.Command(t, "losetup", "mount", "--find", "--show", pv))
	detached := false
	detach := func() {
		if out, err := exec.Command("losetup", "--detach", loop).CombinedOutput(); err != nil && !detached {
			t.Errorf("%s: %v: %s", loop, err, out)
		}
		detached = true
	}
	defer detach()
	config := fmt.Sprintf(`devices{use_devicesfile=0 filter=["a|^%s$|","r|.*|"] obtain_device_list_from_udev=0} backup{backup=0 archive=0}`, loop)
	for _, args := range [][]string{{"pvcreate", "-y", "-q", loop}, {"vgcreate", "-y", "-q", "vg", loop},
		{"lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-n", "root", "-L", "64M", "vg"}} {
		treetest.Command(t, "lvm", "lvm2", append(args, "--driverloaded", "n", "--config", config)...)
	}
	treetest.Command(t, "blockdev", "util-linux", "--flushbufs", loop)
	detach()
	files := rootFiles()
	files["etc/fstab"] = "/dev/mapper/vg-root / vfat defaults 0 0\n"
	root, err := os.ReadFile(fatImage(t, 64*mib, files))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(pv, os.O_RDWR, 0)
	if err == nil {
		_, err = out.WriteAt(root, mib) // pe_start
	}
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	l := open(t, gptDisk(t, 160*mib, "size=128M,type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n", pv))
	r, err := l.Report(t.Context(), "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Systems) != 1 || r.Systems[0].Root != "vg-root" || len(r.Systems[0].Mounts) != 1 || !r.Systems[0].Mounts[0].Found {
		t.Errorf("%+v", r.Systems)
	}
	if s, ok := l.Slice("vg/root"); !ok || s.Kind != inspect.LogicalVolume || s.Size != 64*mib {
		t.Errorf("%+v", s)
	}
}
