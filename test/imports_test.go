package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/imsfs/imsfs"

// room is a package of the house, or several by a pattern, and which others it knows:
// CONTRIBUTING.md, "Layout".
type room struct {
	pattern string
	knows   []string
	why     string
}

// house is searched from the top: the first pattern that matches is the package's room.
var house = []room{
	{"cmd/imsfs", []string{"inspect", "inspect/tree", "inspect/disk", "fs", "tree", "lifecycle", "lifecycle/command", "lifecycle/catalog", "lazyload", "lazyload/chain", "lazyload/index", "lazyload/source", "lazyload/source/*", "blockstore", "blockstore/kv", "blockstore/packs", "formats", "formats/*", "lifecycle/output"}, "it wires everything together"},
	{"fs", []string{"tree", "lifecycle/command", "lazyload", "lazyload/source", "formats"}, "it shows any tree to the kernel; it knows no name in the tree and no image"},
	{"tree", []string{"inspect", "inspect/disk", "lifecycle", "lifecycle/command", "lazyload", "formats"}, "it says what is where, and knows no kernel; an image's report and partitions are files as well"},
	{"lifecycle", []string{"lifecycle/command", "lifecycle/catalog", "lifecycle/job", "lifecycle/pool", "lifecycle/output", "lazyload", "lazyload/index", "lazyload/source", "lazyload/overlay", "blockstore", "blockstore/kv", "formats", "formats/convert", "lazyload/chain"}, "verbs work with records, jobs and open disks, and know no kernel and no layout"},
	{"lifecycle/command", nil, "a command is words and rules, whatever it is for"},
	{"lifecycle/job", []string{"lifecycle/command"}, "a job ends as a sentence, as a command does"},
	{"lifecycle/catalog", []string{"lifecycle/command", "lazyload/chain", "lazyload/source", "lazyload/overlay", "blockstore", "blockstore/kv"}, "a record names files and disks, and opens none"},
	{"lifecycle/pool", []string{"lifecycle/command", "lifecycle/catalog", "lazyload", "lazyload/chain", "lazyload/index", "lazyload/source", "blockstore", "formats"}, "disks are opened by what their records say, whatever the verb"},
	{"lazyload", []string{"lazyload/cache", "blockstore", "formats"}, "a disk is made of any image, wherever its bytes are and whatever it is called"},
	{"lazyload/cache", nil, "decoded bytes are bytes"},
	{"lazyload/chain", []string{"lazyload/source", "formats", "formats/rawmap"}, "it follows names from file to file, and knows no layout"},
	{"lazyload/index", []string{"lazyload/source/file", "formats"}, "it keeps what a pass over an image found, whatever the layout"},
	{"lazyload/source", []string{"formats"}, "the contract of all kinds of sources extends that of one"},
	{"lazyload/source/*", []string{"lazyload/source", "lazyload/source/pages", "formats"}, "a kind of source knows its own protocol: not another's, and no image"},
	{"lazyload/overlay", []string{"formats"}, "a delta lies over any disk, and knows no image"},
	{"blockstore", nil, "blocks, maps and digests are computed; where they are kept is for others"},
	{"blockstore/mem", []string{"blockstore"}, "a store in memory needs nobody"},
	{"blockstore/storetest", []string{"blockstore"}, "the suite works for any store"},
	{"blockstore/packs", []string{"blockstore", "blockstore/kv", "formats/codec"}, "packs hold compressed slices, the database says where"},
	{"blockstore/kv", nil, "the database keeps keys and values and knows nobody's"},
	{"lifecycle/output", []string{"formats"}, "it implements the contract's Target"},
	{"formats", nil, "the contract is at the bottom: it knows none of those who keep it"},
	{"formats/codec", []string{"formats"}, "codecs give exactly n bytes, or the contract's error"},
	{"formats/tables", []string{"formats"}, "tables are bytes of a source; what they mean is for the driver"},
	{"formats/convert", []string{"formats"}, "the pipeline works for any driver"},
	{"formats/formattest", []string{"formats"}, "the suite works for any driver"},
	{"formats/all", []string{"formats", "formats/codec", "formats/*"}, "the one list of drivers"},
	{"formats/zstream", []string{"formats"}, "what two formats of one vendor share; it reads no file"},
	{"formats/*", []string{"formats", "formats/codec", "formats/tables", "formats/zstream"}, "a driver knows its own layout: not another's, no path, no cache"},
	{"inspect", []string{"formats", "formats/codec", "inspect/*", "inspect/tree/*"}, "it puts slices, trees and systems together for the rest of the program"},
	{"inspect/disk", []string{"formats"}, "pages of a disk are bytes; what they mean is for others"},
	{"inspect/table", []string{"inspect/disk"}, "partition tables are slices of a disk; their contents are for others"},
	{"inspect/content", []string{"inspect/disk"}, "signatures are bytes of a slice"},
	{"inspect/system", []string{"inspect/disk", "inspect/tree"}, "a system is files of a tree, whatever the file system"},
	{"inspect/check", []string{"inspect/disk", "inspect/tree", "inspect/system"}, "checks judge facts that others found"},
	{"inspect/volume", []string{"inspect/disk"}, "a volume is made of slices and is one again"},
	{"inspect/tree", []string{"inspect/disk", "formats"}, "the contract knows none of the file systems that keep it"},
	{"inspect/tree/treetest", []string{"inspect/disk", "inspect/tree", "formats", "formats/formattest"}, "the suite works for any file system"},
	{"inspect/tree/*", []string{"inspect/tree", "inspect/disk", "formats", "formats/codec"}, "a file-system driver knows its own layout: not another's, no path, no cache"},
	{"test/*", []string{"*", "*/*"}, "programs that measure are outside of the house and look at all of it"},
	{"test", nil, "the tests use the program as its users do"},
}

// guest is a module, or a package of the standard library, and the rooms that may import it.
type guest struct {
	name  string
	rooms []string
	why   string
}

var guests = []guest{
	{"github.com/hanwen/go-fuse/v2", []string{"fs"}, "only the tree talks to the kernel"},
	{"github.com/dgraph-io/badger/v4", []string{"blockstore/kv"}, "only one package knows which database it is"},
	{"github.com/klauspost/compress", []string{"formats/codec", "inspect/system"}, "whoever decodes must be held to bounds; an initramfs is a stream, and system bounds what it unpacks"},
	{"github.com/ulikunitz/xz", []string{"formats/codec"}, "whoever decodes must be held to bounds, which codec does"},
	{"golang.org/x/crypto", []string{"inspect/tree/btrfs"}, "BLAKE2b is one of the checksums of btrfs"},
	{"github.com/cespare/xxhash/v2", []string{"inspect/tree/btrfs"}, "XXH64 is one of the checksums of btrfs"},
	{"github.com/google/renameio/v2", []string{"blockstore/kv"}, "files that appear whole are made by those who own the directory"},
	{"github.com/spf13/cobra", []string{"cmd/imsfs"}, "only the command line is one"},
	{"github.com/spf13/pflag", []string{"cmd/imsfs"}, "only the command line has flags"},
	{"github.com/vbauerster/mpb/v8", []string{"cmd/imsfs"}, "only a terminal has progress bars"},
	{"github.com/dustin/go-humanize", []string{"cmd/imsfs"}, "only people read rounded sizes; files have bytes"},
	{"github.com/moby/sys/mountinfo", []string{"cmd/imsfs"}, "only the command line looks for trees that are mounted"},
	{"github.com/coreos/go-systemd/v22", []string{"cmd/imsfs"}, "only the process has a service manager"},
	{"golang.org/x/term", []string{"cmd/imsfs"}, "only the process has a terminal"},
	{"golang.org/x/text", []string{"formats/vmdk"}, "only VMDK has text in code pages"},
	{"golang.org/x/time", []string{"fs", "lazyload/source/http"}, "only what others can call for at will needs a limit of rate, and hosts that are down"},
	{"github.com/cenkalti/backoff/v5", []string{"lazyload/source/http"}, "only a network has failures that pass"},
	{"net/http", []string{"lazyload/source/http", "cmd/imsfs"}, "one package makes requests; the command line has the environment's proxy"},
	{"golang.org/x/sync", []string{"formats/convert", "lazyload", "lazyload/cache", "blockstore", "blockstore/packs", "lifecycle"}, "pipelines end together"},
	{"golang.org/x/sys", []string{"cmd/imsfs", "inspect/tree/treetest", "lifecycle/output", "fs", "lazyload/source/file", "lazyload/cache", "blockstore/kv", "blockstore/packs", "lazyload/overlay"}, "system calls are for those who own a file, a mount or memory"},
	{"os", []string{"formats/formattest", "inspect/tree/treetest", "cmd/imsfs", "fs", "lazyload/source/file", "lazyload/index", "blockstore/kv", "blockstore/packs", "lifecycle/output", "lazyload/overlay"}, "drivers open no path, and lifecycle reaches files through those that know them"},
	{"os/exec", []string{"cmd/imsfs", "inspect/tree/treetest", "formats/formattest"}, "only the process starts processes"},
	{"os/signal", []string{"cmd/imsfs"}, "only the process has signals"},
	{"flag", nil, "flags are pflag's"},
	{"log", nil, "logs are slog's"},
	{"log/slog", []string{"cmd/imsfs", "fs", "lifecycle", "lifecycle/pool", "blockstore/kv"}, "log or return: the lower rooms return"},
	{"testing", []string{"formats/formattest", "inspect/tree/treetest", "blockstore/storetest"}, "what helps tests is no part of the program"},
	{"unsafe", []string{"lazyload/overlay"}, "words of a mapped file are read and written atomically; nothing else is worth it"},
	{"reflect", nil, "layouts are read field by field"},
	{"plugin", nil, "what the program can do is in the program"},
	{"C", nil, "the program is built without a C compiler"},
}

// standard is what anybody may import: the standard library, but for the guests above. Its packages
// have no dot in their first element.
func standard(imported string) bool { return !strings.Contains(strings.Split(imported, "/")[0], ".") }

// pkg is what the go command tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string // without tests
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// TestImportsGoDown checks every import against the tables, and that the tables allow nothing that
// is not used.
func TestImportsGoDown(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		i := slices.IndexFunc(house, func(r room) bool { return match(r.pattern, name) })
		if i < 0 {
			t.Errorf("%s has no room in the house: say in imports_test.go and CONTRIBUTING.md what it may know, and why", name)
			continue
		}
		for _, imported := range p.Imports {
			if inner, ok := strings.CutPrefix(imported, module+"/"); ok {
				checkInner(t, name, house[i], inner)
			} else if !strings.HasPrefix(name, "test") {
				checkGuest(t, name, imported, used)
			}
		}
	}
	for _, g := range guests {
		for _, room := range g.rooms {
			if !used[room+" "+g.name] {
				t.Errorf("the table lets %s import %s, which it does not: take it out", room, g.name)
			}
		}
	}
}

func checkInner(t *testing.T, name string, r room, imported string) {
	t.Helper()
	if !slices.ContainsFunc(r.knows, func(pattern string) bool { return match(pattern, imported) }) {
		t.Errorf("%s imports %s, and may know only %q: %s", name, imported, r.knows, r.why)
	}
	if imported == "formats/formattest" && name != "inspect/tree/treetest" || imported == "inspect/tree/treetest" {
		t.Errorf("%s imports %s, which is for tests", name, imported)
	}
}

func checkGuest(t *testing.T, name, imported string, used map[string]bool) {
	t.Helper()
	i := slices.IndexFunc(guests, func(g guest) bool {
		return imported == g.name || !standard(imported) && strings.HasPrefix(imported, g.name+"/")
	})
	switch {
	case i < 0 && standard(imported):
	case i < 0:
		t.Errorf("%s imports %s: say in imports_test.go who may, and why", name, imported)
	case !slices.Contains(guests[i].rooms, name):
		t.Errorf("%s imports %s, which only %q may: %s", name, imported, guests[i].rooms, guests[i].why)
	default:
		used[name+" "+guests[i].name] = true
	}
}

func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
