package source

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// File is the scheme of a location that is a path of this system. It is the only one that is not
// written as a URL.
const File = "file"

// Location is a parsed place: a file's path, or a URL. The zero value is none. Locations are
// comparable; two that differ may still be one place.
type Location struct {
	Scheme string // File, or the scheme of a URL: "https", "s3"
	Host   string // of a URL, with its port; a bucket's name
	// Path is a file's path, or a URL's with its escapes as they were given, because a server may
	// tell "%2F" from "/".
	Path string
	// Query is what follows a URL's "?". It often signs a request, so String leaves it out.
	Query string
}

// Parse parses a path or a URL. A path that looks like a URL can be written as "./http://…".
func Parse(text string) (Location, error) {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok || strings.Contains(scheme, "/") {
		return Location{Scheme: File, Path: text}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, invalid("not a URL: %w", withoutText(err))
	}
	l := Location{
		Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: u.EscapedPath(), Query: u.RawQuery,
	}
	switch {
	case u.User != nil:
		return Location{}, invalid("%s: a password in a URL would be shown to everyone: name credentials instead", l)
	case u.Host == "":
		return Location{}, invalid("%s: the URL has no host", l)
	case u.Fragment != "":
		return Location{}, invalid("%s: a fragment (#…) names no place: write %%23 if it is part of the name", l)
	case strings.ContainsFunc(u.Host+u.Path, notText):
		return Location{}, invalid("%q: the URL has control characters", l.String())
	}
	if l.Path == "" {
		l.Path = "/"
	}
	return l, nil
}

// withoutText drops the text that could not be parsed from an error, because it may hold a secret.
func withoutText(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// IsZero reports whether the location is the zero value.
func (l Location) IsZero() bool { return l == Location{} }

// IsAbs reports whether the location means the same to every process.
func (l Location) IsAbs() bool { return l.Scheme != File || path.IsAbs(l.Path) }

// String returns the location as Parse takes it. Of a query it only shows that there is one.
func (l Location) String() string {
	if l.Scheme == File || l.IsZero() {
		return l.Path
	}
	text := l.Scheme + "://" + l.Host + l.Path
	if l.Query != "" {
		text += "?…"
	}
	return text
}

// URL returns the location with its query. It must not be shown or logged.
func (l Location) URL() string {
	text := l.Scheme + "://" + l.Host + l.Path
	if l.Query != "" {
		text += "?" + l.Query
	}
	return text
}

// Base returns the last element of the path, without escapes.
func (l Location) Base() string {
	base := path.Base(l.Path)
	if l.Scheme != File {
		if plain, err := url.PathUnescape(base); err == nil {
			return plain
		}
	}
	return base
}

// Dir returns the location of the directory that the place is in. A query is not inherited.
func (l Location) Dir() Location {
	dir := path.Dir(l.Path)
	if l.Scheme != File && !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	return Location{Scheme: l.Scheme, Host: l.Host, Path: dir}
}

// Join returns the location that a name leads to from a directory. For files an absolute name
// leads to itself. The result of a name with ".." is meaningless unless a Directory permits it.
func (l Location) Join(name string) Location {
	switch {
	case l.Scheme != File:
		elements := strings.Split(path.Clean(name), "/")
		for i, e := range elements {
			elements[i] = url.PathEscape(e)
		}
		l.Path = path.Join(l.Path, path.Join(elements...))
	case path.IsAbs(name):
		l.Path = path.Clean(name)
	default:
		l.Path = path.Join(l.Path, name)
	}
	return l
}

// Clean returns the location in its shortest form.
func (l Location) Clean() Location {
	if l.Scheme == File {
		l.Path = path.Clean(l.Path)
	}
	return l
}
