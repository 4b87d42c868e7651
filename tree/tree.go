// Package tree describes the files of a store as values: directories, texts, control files and
// disks.
//
// A Dir lists the names of its children and finds one child by its name. Finding a child makes
// that child only, never its siblings, so a directory may have any number of them. The other nodes
// are a Text, a Control and a Disk. Nothing here knows the kernel: package fs renders a Dir as a
// mounted file system, a test walks it with function calls, and another program could serve it
// over a network.
//
// Of returns the tree of a store, Single the tree of one disk that is in no store. The files
// store.go, image.go and volume.go hold one table each, with a row for every name; to add a file
// to every image, add a row to the table in image.go.
//
// Every node has a Key that stands for the thing and not for its name. For example, an image keeps
// its key when it is renamed, and an image that is registered under the name of a deleted one has
// another key. So a cache by key never shows the bytes of one image as those of another.
package tree

import (
	"context"
	"strconv"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// Kind is one of four.
type Kind uint8

// The kinds of nodes.
const (
	KindDir Kind = iota + 1
	KindText
	KindControl
	KindDisk
)

// Key identifies a thing for as long as the tree is served: a path of numbers and of names that
// never change. Each directory numbers its children or names them, and never does both.
type Key string

// Named returns the key of the child that always has this name.
func (k Key) Named(name string) Key { return k + "/" + Key(name) }

// Numbered returns the key of the child with this number, whatever its name is.
func (k Key) Numbered(n uint64) Key { return k + "/" + Key(strconv.FormatUint(n, 10)) }

// Thing is what all nodes have.
type Thing struct {
	Key  Key
	Time time.Time // of the thing's creation
}

// Identity returns the thing itself: nodes that embed it are told apart by it.
func (t Thing) Identity() Thing { return t }

// Node is a Dir, a Text, a Control or a Disk.
type Node interface {
	Kind() Kind
	Identity() Thing
}

// Entry is a child of a directory, as a listing has it.
type Entry struct {
	Name string
	Kind Kind
	Key  Key
}

// Dir is a directory. Its children are listed and found at each call, so it keeps nothing that could
// go stale.
type Dir struct {
	Thing
	List func() []Entry
	Find func(name string) (Node, bool)
	// Edit creates and removes the texts of the directory. Nil means that this is not possible.
	Edit Editor
	// Lasting says that the children never change, so that a reader may remember their names.
	Lasting bool
}

// Editor creates and removes the texts of a directory.
type Editor interface {
	// Create checks that a text may have this name and returns that text. The text exists after
	// its first Set, so a name that is refused leaves nothing.
	Create(ctx context.Context, by command.Actor, name string) (Text, error)
	Remove(ctx context.Context, by command.Actor, name string) error
}

// Text is a small file whose content is made for the process that opens it.
type Text struct {
	Thing
	Content func(by command.Actor) string
	// Make makes the content of a text that takes a while, in place of Content. Such a text cannot
	// be written to, and its size is shown as 0. ctx ends when the reader is being killed.
	Make func(ctx context.Context) string
	// Set replaces the content. A nil Set means that the text can only be read.
	Set func(ctx context.Context, by command.Actor, text string) error
}

// Commander carries out commands.
type Commander interface {
	// Do carries out one command line. The user reads the text of its error.
	Do(ctx context.Context, call command.Call) error
	// Verbs lists the commands that may be used now, a line each.
	Verbs() string
}

// Control is a file that takes commands.
type Control struct {
	Thing
	Commander Commander
}

// Kind implements Node.
func (Dir) Kind() Kind { return KindDir }

// Kind implements Node.
func (Text) Kind() Kind { return KindText }

// Kind implements Node.
func (Control) Kind() Kind { return KindControl }

// Kind implements Node.
func (Disk) Kind() Kind { return KindDisk }
