package content_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/content"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

// TestSameAsBlkid makes a slice of each kind, and compares with blkid's probing of it.
func TestSameAsBlkid(t *testing.T) {
	for _, c := range []struct {
		name, program, debianPackage string
		size                         int64
		args                         []string
	}{
		{"ext2", "mkfs.ext2", "e2fsprogs", 16 << 20, []string{"-q", "-L", "two"}},
		{"ext3", "mkfs.ext3", "e2fsprogs", 16 << 20, []string{"-q", "-L", "three"}},
		{"ext4", "mkfs.ext4", "e2fsprogs", 16 << 20, []string{"-q", "-L", "root"}},
		{"xfs", "mkfs.xfs", "xfsprogs", 320 << 20, []string{"-q", "-L", "data"}},
		{"btrfs", "mkfs.btrfs", "btrfs-progs", 128 << 20, []string{"-q", "-L", "pool"}},
		{"vfat32", "mkfs.vfat", "dosfstools", 64 << 20, []string{"-F", "32", "-n", "ESP"}},
		{"vfat16", "mkfs.vfat", "dosfstools", 64 << 20, []string{"-F", "16"}},
		{"exfat", "mkfs.exfat", "exfatprogs", 64 << 20, nil},
		{"ntfs", "mkfs.ntfs", "ntfs-3g", 64 << 20, []string{"-q", "-F"}},
		{"swap", "mkswap", "util-linux", 16 << 20, []string{"-q", "-L", "swap"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := treetest.Image(t, c.size)
			treetest.Command(t, c.program, c.debianPackage, append(c.args, path)...)
			out := treetest.Command(t, "blkid", "util-linux", "-p", "-o", "export", path)
			want := content.Content{Type: field(out, "TYPE"), UUID: field(out, "UUID"), Label: field(out, "LABEL")}
			list, err := content.Find(t.Context(), disk.New(formattest.OpenFile(t, path)))
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			got := list[0]
			got.Kind = ""
			if c.name == "exfat" || c.name == "ntfs" {
				want.Label = "" // in a directory or file, which the driver reads
			}
			if got != want {
				t.Errorf("%+v, blkid has %+v", got, want)
			}
		})
	}
}

func field(out, key string) string {
	m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestRequests(t *testing.T) {
	path := treetest.Image(t, 1<<30)
	treetest.Command(t, "mkfs.ext4", "e2fsprogs", "-q", path)
	d := disk.New(formattest.OpenFile(t, path))
	if _, err := content.Find(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if c := d.Cost(); c.Requests > 2 || c.Bytes > 64<<10 {
		t.Errorf("%+v", c)
	}
}

func FuzzFind(f *testing.F) {
	path := treetest.Image(f, 16<<20)
	treetest.Command(f, "mkfs.ext4", "e2fsprogs", "-q", path)
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:4096])
	f.Add(slices.Concat(make([]byte, 4086), []byte("SWAPSPACE2")))
	f.Add([]byte("LUKS\xba\xbe\x00\x02"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := content.Find(t.Context(), disk.New(formattest.Bytes(p))); err != nil {
			t.Fatal(err)
		}
	})
}
