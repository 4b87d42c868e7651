package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is one kind of source. It is safe for concurrent use.
type Kind interface {
	// Schemes lists the schemes of the locations that the kind opens.
	Schemes() []string
	// Open opens the source at a location.
	Open(ctx context.Context, l Location) (Object, error)
	// Identify returns the identity of the source at a location now, without opening it for reading.
	Identify(ctx context.Context, l Location) (Identity, error)
	// Directory returns what finds the neighbours of the source at a location.
	Directory(ctx context.Context, l Location) (Directory, error)
}

// Directory finds the neighbours of one source: the backing image and the extents that lie near it.
// The rules of its kind decide what is near. It is not safe for concurrent use.
type Directory interface {
	// Find finds a neighbour by its name, or refuses the name (Refuse). It opens nothing that the
	// rules forbid.
	Find(ctx context.Context, name Name) (Neighbour, error)
	// Close releases the directory. Objects that were opened through it stay open.
	Close() error
}

// Neighbour is a source that an image's name leads to.
type Neighbour interface {
	// Exists returns nil if there is something that Open would open.
	Exists(ctx context.Context) error
	Open(ctx context.Context) (Object, error)
	// Directory returns what finds the neighbours of this neighbour. It must be closed before the
	// directory that found it.
	Directory(ctx context.Context) (Directory, error)
}

// Opener is the list of all kinds. The zero value opens nothing.
type Opener struct{ Kinds []Kind }

// Parse parses a location, and refuses one whose scheme no kind has: errors.ErrUnsupported.
func (o Opener) Parse(text string) (Location, error) {
	l, err := Parse(text)
	if err != nil {
		return Location{}, err
	}
	_, err = o.kind(l)
	return l, err
}

// Absolute parses a location that means the same to every process, and can be kept and shown. It
// cleans paths. A relative path, and a URL with a query, is iofs.ErrInvalid.
func (o Opener) Absolute(text string) (Location, error) {
	l, err := o.Parse(text)
	if err != nil {
		return Location{}, err
	}
	if l.Query != "" {
		return Location{}, invalid("%s: a query often signs a request and would have to be kept with the image: "+
			"give a URL without one", l)
	}
	if !l.IsAbs() {
		return Location{}, invalid("%q: the path is relative: give an absolute one, which means the same to everyone", text)
	}
	return l.Clean(), nil
}

// Open opens the source at a location.
func (o Opener) Open(ctx context.Context, l Location) (Object, error) {
	k, err := o.kind(l)
	if err != nil {
		return nil, err
	}
	return k.Open(ctx, l)
}

// Identify returns the identity of the source at a location now.
func (o Opener) Identify(ctx context.Context, l Location) (Identity, error) {
	k, err := o.kind(l)
	if err != nil {
		return Identity{}, err
	}
	return k.Identify(ctx, l)
}

// Directory returns what finds the neighbours of the source at a location.
func (o Opener) Directory(ctx context.Context, l Location) (Directory, error) {
	k, err := o.kind(l)
	if err != nil {
		return nil, err
	}
	return k.Directory(ctx, l)
}

func (o Opener) kind(l Location) (Kind, error) {
	var known []string
	for _, k := range o.Kinds {
		if slices.Contains(k.Schemes(), l.Scheme) {
			return k, nil
		}
		known = append(known, k.Schemes()...)
	}
	return nil, fmt.Errorf("%s: sources of the kind %q are not supported (known are %s): %w",
		l, l.Scheme, strings.Join(known, ", "), errors.ErrUnsupported)
}
