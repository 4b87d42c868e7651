package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	vmVariable    = "IMSFS_VM"      // if set, boot machines; a path keeps the disk for the next run
	bootPatience  = 5 * time.Minute // an emulated boot takes half a minute
	buildPatience = 8 * time.Minute // fetches 100 MB of packages
	wantedBoot    = 1.15            // times the raw file's
	mostBoot      = 2.0             // a larger ratio is a failure
	mostLoaded    = 0.6             // of the image's data: half, and a margin for other versions of packages
	// Emulated, because not every machine has KVM, and nested KVM may not work.
	vmArguments    = "-machine accel=tcg -display none -monitor none -serial stdio -nic none -no-reboot"
	remembersWords = "guest: remembers "
)

// TestVM boots a Debian from a clone, changes a file, commits, and boots the new image. The time of
// the first boot, with an empty store, is compared with that of the raw file.
func TestVM(t *testing.T) {
	if os.Getenv(vmVariable) == "" {
		t.Skip("boots machines for minutes: make vm-test does")
	}
	raw := vmDisk(t)
	image := filepath.Join(t.TempDir(), "root.zvhd2")
	mustRun(t, program, "convert", "-f", "raw", "-O", "zvhd2", raw, image)
	direct := bootRaw(t, raw).up

	d := serve(t)
	d.register(t, "debian", image)
	d.run(t, "debian", "set min_ram 512")
	mustRun(t, program, "clone", "--mount", d.mnt, "debian", "one")
	b := d.bootVM(t, "one", "remember:cucumber")
	if !b.says("guest: wrote cucumber") || b.says(remembersWords) {
		t.Fatalf("the guest did not write, or remembers a word that it was not given:\n%s", b.tail())
	}
	d.wantLittleLoaded(t, "debian")
	wantAsFast(t, b.up, direct)
	mustRun(t, program, "commit", "--mount", d.mnt, "one", "changed")
	d.stop(t)

	d = d.serve(t)
	if b = d.bootVM(t, "changed", "-"); !b.says(remembersWords + "cucumber") {
		t.Errorf("a clone of the committed image does not have the file:\n%s", b.tail())
	}
	if left := mustRun(t, "ls", d.path("volumes")); left != "one" {
		t.Errorf("the volumes are %s, want one", left)
	}
	mustRun(t, "cmp", raw, d.disk("debian"))
}

// wantAsFast logs the ratio of two boots. It fails only for a ratio that other work on the machine
// does not explain, because one boot each is not a measurement.
func wantAsFast(t *testing.T, ours, direct time.Duration) {
	t.Helper()
	ratio := ours.Seconds() / direct.Seconds()
	t.Logf("until the guest is up: the raw file %.1f s, a clone of the image %.1f s: %.2f times, wanted is %v at most",
		direct.Seconds(), ours.Seconds(), ratio, wantedBoot)
	if ratio > mostBoot {
		t.Errorf("a clone boots in %.2f times the time of the raw file, more than %v", ratio, mostBoot)
	}
}

// wantLittleLoaded checks that a boot has loaded only a part of the image.
func (d *daemon) wantLittleLoaded(t *testing.T, image string) {
	t.Helper()
	number := func(image, key string) float64 {
		n, err := strconv.ParseInt(d.status(t, image, key), 10, 64)
		must(t, err)
		return float64(n)
	}
	loaded, all := number("", "cache_loads")*number(image, "cluster_size"), number(image, "allocated")
	t.Logf("loaded %.0f MiB of %.0f, %.0f %%", loaded/mib, all/mib, 100*loaded/all)
	if loaded > mostLoaded*all {
		t.Errorf("booting loaded %.0f bytes of %.0f, more than %v of them", loaded, all, mostLoaded)
	}
}

// vmDisk returns the raw disk, kept from an earlier run or built.
func vmDisk(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "mmdebstrap", "extlinux", "sfdisk", "mke2fs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("a machine's disk is built and booted with %s: %v", tool, err)
		}
	}
	disk := os.Getenv(vmVariable)
	if !filepath.IsAbs(disk) {
		disk = filepath.Join(t.TempDir(), "root.raw")
	}
	if _, err := os.Stat(disk); err == nil {
		return disk
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildPatience)
	defer cancel()
	start := time.Now()
	cmd := exec.CommandContext(ctx, "./vmdisk.sh", disk)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it cleans up
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the disk: %v\n%s", err, out)
	}
	t.Logf("the disk was built in %.0f s", time.Since(start).Seconds())
	return disk
}

// bootRaw boots a copy of the raw disk by the command that boots a volume.
func bootRaw(t *testing.T, raw string) boot {
	t.Helper()
	d := serve(t)
	d.run(t, "", "create any size=1048576")
	d.run(t, "volumes/any", "set min_ram 512")
	volumes := d.path("volumes")
	script := mustRun(t, program, append([]string{"run", "--mount", d.mnt, "any", "--"}, strings.Fields(vmArguments+" -smbios type=1,serial=-")...)...)
	copied := d.file("copy.raw")
	mustRun(t, "cp", "--sparse=always", raw, copied)
	d.stop(t)
	return bootBy(t, exec.Command("sh", "-c", "exec "+strings.ReplaceAll(script, filepath.Join(volumes, "any", "disk"), copied)))
}

// bootVM boots a volume or an image of the tree. The guest reads its orders from the serial number.
func (p place) bootVM(t *testing.T, name, serial string) boot {
	t.Helper()
	args := []string{"run", "--mount", p.mnt, "--exec", name, "--", "-smbios", "type=1,serial=" + serial}
	return bootBy(t, exec.Command(program, append(args, strings.Fields(vmArguments)...)...))
}

// boot is a machine's console output until it ended by itself.
type boot struct {
	console *console
	up      time.Duration // until the guest reported it
}

func bootBy(t *testing.T, cmd *exec.Cmd) boot {
	t.Helper()
	c := &console{start: time.Now(), marker: []byte("guest: up")}
	cmd.Stdout, cmd.Stderr = c, c
	must(t, cmd.Start())
	late := time.AfterFunc(bootPatience, func() { cmd.Process.Signal(syscall.SIGTERM) })
	err := cmd.Wait()
	b := boot{c, c.seen}
	if !late.Stop() || err != nil || c.seen == 0 {
		t.Fatalf("the machine ended after %v with %v, and was up after %v; its console:\n%s", time.Since(c.start), err, c.seen, b.tail())
	}
	return b
}

func (b boot) says(words string) bool { return bytes.Contains(b.console.text, []byte(words)) }

// tail returns the end of the output.
func (b boot) tail() string {
	text := b.console.text
	return string(text[max(0, len(text)-4000):])
}

// console keeps the output, and the time at which it had the marker.
type console struct {
	start  time.Time
	marker []byte
	text   []byte
	seen   time.Duration
}

func (c *console) Write(p []byte) (int, error) {
	c.text = append(c.text, p...)
	if c.seen == 0 && bytes.Contains(c.text, c.marker) {
		c.seen = time.Since(c.start)
	}
	return len(p), nil
}
