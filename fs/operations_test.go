package fs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
)

// operation is an interface of the FUSE library that a node or an open file may implement, and what
// was decided about it.
type operation struct {
	name string
	is   func(any) bool
	by   []any  // the types that implement it; none: the library or the kernel answers
	why  string // what for, or which answer there is without it
}

// has reports whether a value implements I.
func has[I any](v any) bool { _, ok := v.(I); return ok }

var (
	theDir, theText, theControl, theDisk      = (*dir)(nil), (*text)(nil), (*control)(nil), (*disk)(nil)
	theListing, theDraft, theDialogue, handle = (*listing)(nil), (*draft)(nil), (*dialogue)(nil), (*diskHandle)(nil)
)

var (
	inodes = []any{theDir, theText, theControl, theDisk}
	opened = []any{theListing, theDraft, theDialogue, handle}
	files  = []any{theDraft, theDialogue, handle}
	onDir  = []any{theDir}
	onList = []any{theListing}
	onDisk = []any{handle}
)

const (
	ofHandle = "the open file answers"
	ofNode   = "the node answers, for open files too"
	byVerb   = "refused with EPERM: a command does that, and one write of it says what is meant"
	noNFS    = "ESTALE: the tree cannot be exported by NFS, whose handles outlive the daemon"
	byKernel = "the kernel keeps locks, among the processes of this machine, which are all that see the mount"
	noXattrs = "the library answers ENOSYS once, and the kernel then EOPNOTSUPP without a request: " +
		"a write would cost a request for security.capability each time"
)

// operations decides every optional operation of the library.
var operations = []operation{
	{"NodeStatfser", has[fusefs.NodeStatfser], inodes, "df, and programs that look for space or a block size, on any file"},
	{"NodeAccesser", has[fusefs.NodeAccesser], nil, "the kernel checks modes itself: default_permissions"},
	{"NodeGetattrer", has[fusefs.NodeGetattrer], inodes, "modes, sizes, times, owner"},
	{"NodeSetattrer", has[fusefs.NodeSetattrer], inodes, "a change to what is set already succeeds; others are EPERM, EROFS on a disk that can be read only"},
	{"NodeOnAdder", has[fusefs.NodeOnAdder], nil, "a node is complete when it is made"},
	{"NodeGetxattrer", has[fusefs.NodeGetxattrer], nil, noXattrs},
	{"NodeSetxattrer", has[fusefs.NodeSetxattrer], nil, noXattrs},
	{"NodeRemovexattrer", has[fusefs.NodeRemovexattrer], nil, noXattrs},
	{"NodeListxattrer", has[fusefs.NodeListxattrer], nil, noXattrs},
	{"NodeReadlinker", has[fusefs.NodeReadlinker], nil, "there are no symbolic links"},
	{"NodeOpener", has[fusefs.NodeOpener], []any{theText, theControl, theDisk}, "an open file has state: a text as it was, the outcome of a command, an open disk"},
	{"NodeReader", has[fusefs.NodeReader], nil, ofHandle},
	{"NodeWriter", has[fusefs.NodeWriter], nil, ofHandle},
	{"NodeWritever", has[fusefs.NodeWritever], nil, ofHandle},
	{"NodeFsyncer", has[fusefs.NodeFsyncer], nil, ofHandle},
	{"NodeFlusher", has[fusefs.NodeFlusher], nil, ofHandle},
	{"NodeReleaser", has[fusefs.NodeReleaser], nil, ofHandle},
	{"NodeAllocater", has[fusefs.NodeAllocater], nil, ofHandle},
	{"NodeCopyFileRanger", has[fusefs.NodeCopyFileRanger], nil, "EOPNOTSUPP: the kernel copies through the page cache"},
	{"NodeStatxer", has[fusefs.NodeStatxer], nil, "the kernel asks for the attributes instead, which are all there is"},
	{"NodeLseeker", has[fusefs.NodeLseeker], nil, ofHandle},
	{"NodeGetlker", has[fusefs.NodeGetlker], nil, byKernel},
	{"NodeSetlker", has[fusefs.NodeSetlker], nil, byKernel},
	{"NodeSetlkwer", has[fusefs.NodeSetlkwer], nil, byKernel},
	{"NodeIoctler", has[fusefs.NodeIoctler], nil, "ENOTTY, as on any regular file"},
	{"NodeOnForgetter", has[fusefs.NodeOnForgetter], nil, "the table of numbers counts what the kernel forgets, exactly; the library's call may race with a look-up"},
	{"NodeLookuper", has[fusefs.NodeLookuper], onDir, "a child is found by its name"},
	{"NodeLookupNoder", has[fusefs.NodeLookupNoder], nil, noNFS},
	{"NodeLookupParenter", has[fusefs.NodeLookupParenter], nil, noNFS},
	{"NodeWrapChilder", has[fusefs.NodeWrapChilder], nil, "there is one kind of tree"},
	{"NodeOpendirer", has[fusefs.NodeOpendirer], nil, "NodeOpendirHandler replaces it"},
	{"NodeOpendirHandler", has[fusefs.NodeOpendirHandler], onDir, "a listing holds the numbers of its entries"},
	{"NodeReaddirer", has[fusefs.NodeReaddirer], nil, "the listing answers"},
	{"NodeMkdirer", has[fusefs.NodeMkdirer], onDir, byVerb},
	{"NodeMknoder", has[fusefs.NodeMknoder], onDir, byVerb},
	{"NodeLinker", has[fusefs.NodeLinker], onDir, byVerb},
	{"NodeSymlinker", has[fusefs.NodeSymlinker], onDir, byVerb},
	{"NodeCreater", has[fusefs.NodeCreater], onDir, "makes a text in a directory that can be edited; EPERM elsewhere"},
	{"NodeTmpfiler", has[fusefs.NodeTmpfiler], onDir, "ENOSYS: the kernel then answers EOPNOTSUPP itself, after which programs make a named file"},
	{"NodeUnlinker", has[fusefs.NodeUnlinker], onDir, "removes a text of a directory that can be edited; EPERM elsewhere. Without it the library reports a success"},
	{"NodeRmdirer", has[fusefs.NodeRmdirer], onDir, byVerb + ". Without it the library reports a success"},
	{"NodeRenamer", has[fusefs.NodeRenamer], onDir, byVerb},
	{"FilePassthroughFder", has[fusefs.FilePassthroughFder], nil, "the bytes of a disk are in no one file"},
	{"FileReleaser", has[fusefs.FileReleaser], []any{theDraft, handle}, "closes the disk; empties a text that was opened for it and not written"},
	{"FileGetattrer", has[fusefs.FileGetattrer], nil, ofNode},
	{"FileStatxer", has[fusefs.FileStatxer], nil, ofNode},
	{"FileReader", has[fusefs.FileReader], files, "reads; EINVAL for what a block device refuses with O_DIRECT"},
	{"FileWriter", has[fusefs.FileWriter], files, "writes; EINVAL for what a block device refuses with O_DIRECT"},
	{"FileWritever", has[fusefs.FileWritever], nil, "the library calls it for pieces only if it reads requests in pieces, which is off"},
	{"FileGetlker", has[fusefs.FileGetlker], nil, byKernel},
	{"FileSetlker", has[fusefs.FileSetlker], nil, byKernel},
	{"FileSetlkwer", has[fusefs.FileSetlkwer], nil, byKernel},
	{"FileLseeker", has[fusefs.FileLseeker], onDisk, "holes, for copies that leave them out"},
	{"FileFlusher", has[fusefs.FileFlusher], onDisk, "the close of a disk that was written reports what failed"},
	{"FileFsyncer", has[fusefs.FileFsyncer], files, "flushes a disk that can be written to; 0 for the rest, where nothing is to be flushed"},
	{"FileSetattrer", has[fusefs.FileSetattrer], nil, ofNode},
	{"FileAllocater", has[fusefs.FileAllocater], onDisk, "discard and zeroing; EOPNOTSUPP for space in advance"},
	{"FileIoctler", has[fusefs.FileIoctler], nil, "ENOTTY, as on any regular file"},
	{"FileReaddirenter", has[fusefs.FileReaddirenter], onList, "lists"},
	{"FileLookuper", has[fusefs.FileLookuper], nil, "is for READDIRPLUS, which is off because names are never remembered"},
	{"FileFsyncdirer", has[fusefs.FileFsyncdirer], onList, "0: a command that has returned is on disk"},
	{"FileSeekdirer", has[fusefs.FileSeekdirer], onList, "rewinds to a new listing"},
	{"FileReleasedirer", has[fusefs.FileReleasedirer], onList, "gives the numbers back"},
}

func TestOperationsAreDecided(t *testing.T) {
	decided := map[string]bool{}
	for _, op := range operations {
		if decided[op.name] || op.why == "" {
			t.Errorf("%s: decided twice, or without a reason", op.name)
		}
		decided[op.name] = true
		able := inodes
		if strings.HasPrefix(op.name, "File") {
			able = opened
		}
		for _, v := range able {
			if want := slices.Contains(op.by, v); op.is(v) != want {
				t.Errorf("%s: %T implements it: %t, decided: %t", op.name, v, op.is(v), want)
			}
		}
	}
	offered := libraryInterfaces(t)
	if len(offered) < 50 {
		t.Fatalf("only %d interfaces were found: %q", len(offered), offered)
	}
	for _, name := range offered {
		if !decided[name] {
			t.Errorf("the FUSE library has %s: decide in the table what becomes of it", name)
		}
		delete(decided, name)
	}
	for name := range decided {
		t.Errorf("the FUSE library has no %s any more", name)
	}
}

// libraryInterfaces returns the names of the interfaces that nodes and open files may implement, from
// the library's source: a program cannot list the interfaces of a package.
func libraryInterfaces(t *testing.T) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/hanwen/go-fuse/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "fs", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			_, isInterface := spec.Type.(*ast.InterfaceType)
			name := spec.Name.Name
			if isInterface && (strings.HasPrefix(name, "Node") || strings.HasPrefix(name, "File")) {
				names = append(names, name)
			}
			return false
		})
	}
	return names
}
