package fs

import fusefs "github.com/hanwen/go-fuse/v2/fs"

// Every kernel operation that the tree answers. Whatever is not here, the kernel refuses or go-fuse answers from
// the attributes below.
var (
	_ fusefs.NodeLookuper  = (*dir)(nil)
	_ fusefs.NodeReaddirer = (*dir)(nil)
	_ fusefs.NodeGetattrer = (*dir)(nil)
	_ fusefs.NodeUnlinker  = (*dir)(nil)
	_ fusefs.NodeRmdirer   = (*dir)(nil)

	_ fusefs.NodeGetattrer = (*text)(nil)
	_ fusefs.NodeOpener    = (*text)(nil)
	_ fusefs.FileReader    = (*snapshot)(nil)

	_ fusefs.NodeGetattrer = (*control)(nil)
	_ fusefs.NodeSetattrer = (*control)(nil)
	_ fusefs.NodeOpener    = (*control)(nil)
	_ fusefs.FileReader    = (*dialogue)(nil)
	_ fusefs.FileWriter    = (*dialogue)(nil)

	_ fusefs.NodeGetattrer = (*disk)(nil)
	_ fusefs.NodeSetattrer = (*disk)(nil)
	_ fusefs.NodeOpener    = (*disk)(nil)
	_ fusefs.FileReader    = (*diskHandle)(nil)
	_ fusefs.FileLseeker   = (*diskHandle)(nil)
	_ fusefs.FileReleaser  = (*diskHandle)(nil)

	_ fusefs.NodeGetattrer = (*writable)(nil)
	_ fusefs.NodeSetattrer = (*writable)(nil)
	_ fusefs.NodeOpener    = (*writable)(nil)
	_ fusefs.FileReader    = (*writableHandle)(nil)
	_ fusefs.FileWriter    = (*writableHandle)(nil)
	_ fusefs.FileAllocater = (*writableHandle)(nil)
	_ fusefs.FileFsyncer   = (*writableHandle)(nil)
	_ fusefs.FileFlusher   = (*writableHandle)(nil)
	_ fusefs.FileLseeker   = (*writableHandle)(nil)
	_ fusefs.FileReleaser  = (*writableHandle)(nil)
)
