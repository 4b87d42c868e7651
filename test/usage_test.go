package test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskUsageIsTheData: the blocks of a disk's file are those of its data, so that du shows them and cp looks for holes.
func TestDiskUsageIsTheData(t *testing.T) {
	const size, data = 256 << 20, 10 << 20
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	mustRun(t, "truncate", "-s", "256M", raw)
	mustRun(t, "bash", "-c", "head -c 10M /dev/urandom | dd of="+raw+" bs=1M seek=100 conv=notrunc status=none")
	for _, format := range []string{"qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx"} {
		t.Run(format, func(t *testing.T) {
			p := newPlace(t)
			image := p.file("disk." + format)
			mustRun(t, "qemu-img", "convert", "-f", "raw", "-O", format, raw, image)
			p.openImage(t, image)
			var st unix.Stat_t
			must(t, unix.Stat(p.path("disk"), &st))
			if used := st.Blocks * 512; used < data || used > 2*data+1<<20 || st.Size < size {
				t.Errorf("%d of %d bytes are used, want about %d", used, st.Size, data)
			}
			copied := p.file("copy")
			mustRun(t, "cp", p.path("disk"), copied)
			if err := unix.Stat(copied, &st); err != nil || st.Blocks*512 > 3*data {
				t.Errorf("the copy takes %d bytes, %v", st.Blocks*512, err)
			}
			mustRun(t, "cmp", "-n", "268435456", raw, copied)
		})
	}
}
