package formats

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Set is a list of drivers, and the rules for a file that none of them claims.
type Set struct {
	Drivers []Driver
	// Fallback reads files that no driver claims: the raw driver. If it is nil, they are refused.
	Fallback Driver
	// Foreign names well-known contents which no driver reads. They are refused by name, because
	// taking a compressed or foreign image for a raw disk would serve garbage without an error.
	Foreign []Signature
	// Suffixes are endings of file names, such as ".qcow2", whose formats are always known by
	// content: see FindFile.
	Suffixes []string
}

// Signature is a magic number at a fixed offset. A negative offset counts from the file's end, for
// the formats that are marked in a trailer.
type Signature struct {
	Name  string
	Off   int64
	Magic string
}

// Named returns the driver of that name.
func (s Set) Named(name string) (Driver, error) {
	for _, d := range s.all() {
		if d.Name() == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("unknown format %q: known are %s", name, strings.Join(s.Names(), ", "))
}

// Names lists the drivers' names in order.
func (s Set) Names() []string {
	var names []string
	for _, d := range s.all() {
		names = append(names, d.Name())
	}
	return names
}

func (s Set) all() []Driver {
	if s.Fallback == nil {
		return s.Drivers
	}
	return append([]Driver{s.Fallback}, s.Drivers...)
}

// Probe finds the one driver that claims the source. Two claims are an error: such a file is an
// attack or an accident, and either reading may be the wrong one.
func (s Set) Probe(ctx context.Context, src Source) (Driver, error) {
	if src.Size() == 0 {
		return nil, &kindError{ErrCorrupt, "the file is empty"}
	}
	var claims []Driver
	var names []string
	for _, d := range s.Drivers {
		ok, err := d.Probe(ctx, src)
		if err != nil {
			return nil, fmt.Errorf("probing for %s: %w", d.Name(), err)
		}
		if ok {
			claims = append(claims, d)
			names = append(names, d.Name())
		}
	}
	for _, f := range s.Foreign {
		ok, err := f.match(ctx, src)
		if err != nil {
			return nil, fmt.Errorf("probing for %s: %w", f.Name, err)
		}
		if ok {
			names = append(names, f.Name)
		}
	}
	switch {
	case len(names) > 1:
		return nil, &kindError{ErrCorrupt, fmt.Sprintf("the content is claimed by %s: name the right format", strings.Join(names, " and "))}
	case len(claims) == 1:
		return claims[0], nil
	case len(names) == 1:
		return nil, fmt.Errorf("%s is not read by imsfs (name the format raw to take the bytes as they are): %w", names[0], errors.ErrUnsupported)
	case s.Fallback == nil:
		return nil, fmt.Errorf("unknown format: known are %s", strings.Join(s.Names(), ", "))
	}
	return s.Fallback, nil
}

func (f Signature) match(ctx context.Context, src Source) (bool, error) {
	off := f.Off
	if off < 0 {
		off += src.Size()
	}
	if off < 0 || off > src.Size()-int64(len(f.Magic)) {
		return false, nil
	}
	b := make([]byte, len(f.Magic))
	if err := src.ReadAt(ctx, b, off); err != nil {
		return false, err
	}
	return string(b) == f.Magic, nil
}

// Open opens the source with the driver of the given name, or, if name is "", with the one that
// claims it. The image is wrapped in the checks of checked.go.
func (s Set) Open(ctx context.Context, src Source, name string, opts OpenOptions) (Image, error) {
	d, err := s.Find(ctx, src, name)
	if err != nil {
		return nil, err
	}
	img, err := d.Open(ctx, src, opts)
	if err != nil {
		return nil, err
	}
	return check(img)
}

// Find returns the driver of the given name, or, if name is "", the one that claims the source.
func (s Set) Find(ctx context.Context, src Source, name string) (Driver, error) {
	if name != "" {
		return s.Named(name)
	}
	return s.Probe(ctx, src)
}

// FindFile is Find for a file with a name. If the name promises a format and no driver claims the
// content, the error says so: the file is more likely the page of a failed download than a raw
// disk.
func (s Set) FindFile(ctx context.Context, src Source, format, file string) (Driver, error) {
	d, err := s.Find(ctx, src, format)
	if err != nil || format != "" || s.Fallback == nil || d.Name() != s.Fallback.Name() {
		return d, err
	}
	for _, suffix := range s.Suffixes {
		if strings.HasSuffix(strings.ToLower(file), suffix) {
			return nil, &kindError{ErrCorrupt, fmt.Sprintf("its name ends in %s and its content is of no known format: it is damaged or not an image (format %s takes the bytes as they are)", suffix, d.Name())}
		}
	}
	return d, nil
}
