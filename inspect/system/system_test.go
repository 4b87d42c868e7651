package system_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/system"
)

// archive makes a cpio archive of empty files.
func archive(names ...string) []byte {
	var b bytes.Buffer
	for _, name := range append(names, "TRAILER!!!") {
		fmt.Fprintf(&b, "070701%s%08X%s%08X%08X", strings.Repeat("00000000", 6), 0, strings.Repeat("00000000", 4), len(name)+1, 0)
		b.WriteString(name + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	return b.Bytes()
}

func gzipped(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(p)
	z.Close()
	return b.Bytes()
}

func zstdCompressed(t testing.TB, p []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(p, nil)
}

func TestInitramfs(t *testing.T) {
	microcode, main := archive("kernel/x86/microcode"), archive("lib/virtio_blk.ko", "init")
	want := []string{"kernel/x86/microcode", "lib/virtio_blk.ko", "init"}
	for name, p := range map[string][]byte{
		"Plain": slices.Concat(microcode, main), "Gzip": slices.Concat(microcode, make([]byte, 512), gzipped(main)),
		"Zstd": slices.Concat(microcode, zstdCompressed(t, main)),
	} {
		got, err := system.Initramfs(p)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := system.Initramfs(p[:len(p)-20]); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
	if _, err := system.Initramfs([]byte("\xfd7zXZ\x00")); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("xz: %v", err)
	}
}

func TestCompareVersions(t *testing.T) {
	order := []string{"2.6.24", "2.6.32-754.el6", "3.10.0-1160", "5.9.0", "5.10.0-8-amd64", "5.10.0-21-amd64", "6.1.0"}
	for i, a := range order {
		for j, b := range order {
			if got := system.CompareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}

func TestEndOfSupport(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"debian", "12.7"}: "2026-06-10", {"centos", "7.9"}: "2020-08-06", {"ubuntu", "22.04"}: "2027-04-30", {"ubuntu", "22.10"}: "",
		{"sles", "15.5"}: "2024-12-31", {"sles", "15.9"}: "", {"arch", ""}: "", {"fedora", "38"}: "2024-05-21", {"fedora", "99"}: "",
	} {
		if got := system.EndOfSupport(in[0], in[1]); got.Date != want {
			t.Errorf("%q: %+v, want %s", in, got, want)
		}
	}
	if e := system.EndOfSupport("centos", "7"); e.Ended("2022-01-01") || !e.Ended("2024-07-01") {
		t.Errorf("%+v", e)
	}
	if (system.EOS{}).Ended("2100-01-01") {
		t.Error("an unknown version has ended")
	}
}

func TestParseFstab(t *testing.T) {
	got := system.ParseFstab("# comment\nUUID=\"a-b\" /with\\040space ext4 ro,nofail,subvol=@ 0 1\nshort line\n")
	if len(got) != 1 || got[0].Spec != "UUID=a-b" || got[0].At != "/with space" || got[0].Number != 2 || !got[0].Has("nofail") || got[0].Value("subvol") != "@" {
		t.Errorf("%+v", got)
	}
}

func FuzzInitramfs(f *testing.F) {
	f.Add(archive("a", "b"))
	f.Add(gzipped(archive("a")))
	f.Add(zstdCompressed(f, archive("a")))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := system.Initramfs(p); err != nil && !errors.Is(err, disk.ErrCorrupt) && !errors.Is(err, disk.ErrUnsupported) {
			t.Error(err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"12\"\n")
	f.Add("UUID=1 / ext4 defaults 0 1\n")
	f.Fuzz(func(t *testing.T, s string) {
		system.ParseRelease(s)
		system.ParseFstab(s)
		system.CompareVersions(s, "5.10")
		system.ELFArch([]byte(s))
		system.KernelArch([]byte(s))
		system.PEArch([]byte(s))
	})
}
