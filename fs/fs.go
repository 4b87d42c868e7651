// Package fs renders a tree.Dir to the kernel as a mounted file system.
//
// Each kind of node is one type: dir, text, control and disk. A disk that can be written to is the
// same type as one that cannot; it has a writer role more. The package knows no name of the tree,
// no format and no verb's meaning: commands go down as lines, texts come up. mount.go talks to the
// kernel, numbers.go gives out inode numbers, errno.go is the only place where an error becomes a
// number, and operations_test.go says for every operation of the FUSE library what becomes of it.
//
// How the kernel may cache. Names: never, so that a deleted image is gone at once, unless a
// directory says that its children last. Texts: never; a text is made at each open and is one piece
// from then on. Constant disks: always, because a name that is given again is another inode. Other
// disks: while they are open.
package fs
