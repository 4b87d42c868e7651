package source

import (
	"context"
	"errors"
)

// ErrUnavailable matches errors about a source that cannot be reached now and may come back.
var ErrUnavailable = errors.New("the source is unavailable")

// Class is the urgency of a read of a remote source. A lower class goes first.
type Class int

// Demand never waits for the others.
const (
	Demand  Class = iota // a reader waits for these bytes
	Window               // read ahead of a sequential reader
	Hydrate              // a whole source, for no reader in particular
)

type classKey struct{}

// WithClass returns a context whose reads are of a class. Without it they are Demand.
func WithClass(ctx context.Context, c Class) context.Context {
	return context.WithValue(ctx, classKey{}, c)
}

// ClassOf returns the class of the reads of a context.
func ClassOf(ctx context.Context) Class {
	c, _ := ctx.Value(classKey{}).(Class)
	return c
}
