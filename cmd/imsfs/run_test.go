package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTree is a tree of plain files, as far as run reads it.
func fakeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files["ctl"] = ""
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/status") {
			for _, key := range []string{"arch", "firmware", "min_ram", "type"} {
				if _, ok := files[filepath.Dir(name)+"/meta/"+key]; !ok {
					writeText(t, filepath.Join(filepath.Dir(path), "meta", key), "")
				}
			}
		}
		writeText(t, path, text)
	}
	return root
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const imageStatus = "state active\nformat qcow2\n"

func TestRunPrints(t *testing.T) {
	root := fakeTree(t, map[string]string{
		"volumes/web-1/status":       "state active\n",
		"volumes/web-1/meta/min_ram": "384\n",
		"images/it's web, 2/status":  imageStatus,
		"images/debian/status":       "state active\nformat iso\n",
		"images/dvd/status":          imageStatus,
		"images/dvd/meta/type":       "iso\n",
		"images/twice/status":        imageStatus,
		"volumes/twice/status":       "state active\n",
		"volumes/big/status":         "state active\nlogical_sector_size 4096\n",
	})
	const head = "qemu-system-x86_64 \\\n    -name NAME \\\n    -machine q35,accel=kvm:tcg \\\n    -cpu max \\\n    -m MEMORY"
	const disk = " \\\n    -drive if=virtio,format=raw,cache=none,discard=unmap,file=ROOT/volumes/"
	const cdrom = " \\\n    -drive media=cdrom,format=raw,readonly=on,file=ROOT/images/"
	for _, c := range []struct{ args, want string }{
		{"web-1", head + disk + "web-1/disk\n"},
		{"volumes/twice -- -nographic -m 2048", head + disk + "twice/disk \\\n    -nographic \\\n    -m 2048\n"},
		{"images/twice", "echo 'clone twice-run' >ROOT/images/twice/ctl\n" + head + disk + "twice-run/disk\necho delete >ROOT/volumes/twice-run/ctl\n"},
		{"it's_web,_2", `echo 'clone "it'\''s web, 2-run"' >'ROOT/images/it'\''s web, 2/ctl'` + "\n" +
			strings.ReplaceAll(head, "NAME", `'it'\''s web,, 2'`) + " \\\n    -drive 'if=virtio,format=raw,cache=none,discard=unmap,file=ROOT/volumes/it'\\''s web,, 2-run/disk'\n" +
			`echo delete >'ROOT/volumes/it'\''s web, 2-run/ctl'` + "\n"},
		{"debian", head + cdrom + "debian/disk\n"},
		{"dvd", head + cdrom + "dvd/disk\n"},
		{"web-1 --cdrom debian", head + disk + "web-1/disk" + cdrom + "debian/disk\n"},
		{"web-1 --cdrom debian --cdrom dvd", head + disk + "web-1/disk" + cdrom + "debian/disk" + cdrom + "dvd/disk\n"},
		{"big", head + " \\\n    -drive if=none,id=disk,format=raw,cache=none,discard=unmap,file=ROOT/volumes/big/disk" +
			" \\\n    -device virtio-blk-pci,drive=disk,bootindex=0,logical_block_size=4096,physical_block_size=4096\n"},
	} {
		c2 := newConsole()
		args := strings.Fields(c.args)
		args[0] = strings.ReplaceAll(args[0], "_", " ")
		c2.expect(t, 0, append([]string{"run", "--mount", root}, args...)...)
		memory := usualMemory
		if args[0] == "web-1" {
			memory = "384"
		}
		want := strings.NewReplacer("ROOT", root, "NAME", filepath.Base(args[0]), "MEMORY", memory).Replace(c.want)
		if got := c2.out.String(); got != want {
			t.Errorf("run %s prints\n%s\nwant\n%s", c.args, got, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	root := fakeTree(t, map[string]string{
		"volumes/broken/status":       "state error\nerror a page is gone\n",
		"volumes/arm/status":          "state active\n",
		"volumes/arm/meta/arch":       "aarch64\n",
		"images/queued/status":        "state queued\n",
		"images/twice/status":         imageStatus,
		"volumes/twice/status":        "state active\n",
		"volumes/uefi/status":         "state active\n",
		"volumes/uefi/meta/firmware":  "uefi\n",
		"volumes/plain/status":        "state active\n",
		"volumes/plain/meta/firmware": "bios\n",
	})
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"nobody", 1, `there is no image "nobody"`},
		{"volumes/queued", 1, `there is no volume "queued"`},
		{"images/arm", 1, `there is no image "arm"`},
		{"../volumes/arm", 1, `there is no image "../volumes/arm"`},
		{"volumes/..", 1, `there is no volume ".."`},
		{"twice", 1, "say volumes/twice or images/twice"},
		{"broken", 1, "broken is in state error: a page is gone"},
		{"queued", 1, "queued is in state queued"},
		{"arm", 1, "arm is for aarch64"},
		{"plain --cdrom nobody", 1, `there is no image "nobody"`},
		{"", 2, "wants VOLUME|IMAGE: 0 given"},
		{"plain -m 12", 2, "-m"},
		{"plain more", 2, "2 given"},
		{"-- plain", 2, "0 given"},
	} {
		c2 := newConsole()
		c2.expect(t, c.code, append([]string{"run", "--mount", root}, strings.Fields(c.args)...)...)
		if got := c2.err.String(); !strings.Contains(got, c.says) || strings.Count(got, "\n") != 1 || c2.out.Len() > 0 {
			t.Errorf("run %s says %q, want one line with %q; prints %q", c.args, got, c.says, &c2.out)
		}
	}
}

func TestFindFirmware(t *testing.T) {
	dir := t.TempDir()
	there, alone := filepath.Join(dir, "there"), filepath.Join(dir, "alone")
	writeText(t, there+"-code", "")
	writeText(t, there+"-vars", "")
	writeText(t, alone+"-code", "")
	code, vars, err := findFirmware([][2]string{{alone + "-code", alone + "-vars"}, {there + "-code", there + "-vars"}})
	if code != there+"-code" || vars != there+"-vars" || err != nil {
		t.Errorf("found %q, %q, %v", code, vars, err)
	}
	if _, _, err := findFirmware([][2]string{{alone + "-code", alone + "-vars"}}); err == nil || !strings.Contains(err.Error(), "ovmf") {
		t.Errorf("without one: %v", err)
	}
}
