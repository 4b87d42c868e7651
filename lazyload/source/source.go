// Package source is the contract between the places where stored bytes lie and everything else.
//
// A Location is a parsed place. A Kind opens the locations of some schemes: lazyload/source/file
// opens files. An Object is an open source. An Identity names one state of an object, so that bytes
// of a file that was written to, replaced or truncated are never taken for the image's. A Directory
// finds the neighbours of a source by the names that an image has for them, under the rules of its
// kind. An Opener is the list of all kinds.
//
// A new kind is a package beside lazyload/source/file and one line in the list of kinds. Nothing
// above this contract knows a file system or a protocol.
//
//	source.go    what an open source does
//	location.go  places, and how they are written
//	identity.go  states of a source, and how they are compared
//	name.go      names inside images, and the rules that hold for all kinds
//	opener.go    kinds, directories and the list of kinds
package source

import (
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
)

// ErrChanged matches every error about a source whose state is not the one it had.
var ErrChanged = errors.New("the source has changed")

// Object is an open source. It is safe for concurrent use.
//
// ReadAt returns bytes of the state that Identity names, or an error. Once the object is known to
// have changed, the error is ErrChanged. Close must not be called while a read runs.
//
// An object may also implement formats.Sparse, Spacer and Aliaser.
type Object interface {
	formats.Source
	Identity() Identity
	Close() error
}

// Spacer is implemented by an Object that knows the space it takes where it lies.
type Spacer interface {
	// Space returns that space in bytes; metadata of the file system is not counted.
	Space() int64
}

// Aliaser is implemented by an Object that can have several locations, for example a file with
// hard links.
type Aliaser interface {
	// Same reports whether both objects are one thing, whatever their locations.
	Same(other Object) bool
}

// Space returns the space that an object takes, or its size if it is not a Spacer.
func Space(o Object) int64 {
	if s, ok := o.(Spacer); ok {
		return s.Space()
	}
	return o.Size()
}

// Same reports whether two objects are known to be one thing.
func Same(a, b Object) bool {
	s, ok := a.(Aliaser)
	return ok && s.Same(b)
}

// Refuse returns an error for a name or location that policy forbids. It matches iofs.ErrPermission
// and has only the given text.
func Refuse(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...), iofs.ErrPermission}
}

// invalid returns an error for a text that is not a location. It matches iofs.ErrInvalid.
func invalid(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...), iofs.ErrInvalid}
}

// refusal has a text of its own, and matches kind.
type refusal struct {
	error
	kind error
}

func (r *refusal) Is(target error) bool { return target == r.kind }
func (r *refusal) Unwrap() error        { return r.error }
