package source

import (
	"context"
	"errors"
	iofs "io/fs"
	"strings"
	"testing"
)

// only is a kind of one scheme that opens nothing.
type only string

func (k only) Schemes() []string { return []string{string(k)} }

func (k only) Open(context.Context, Location) (Object, error) { return nil, errors.New(string(k)) }

func (k only) Identify(context.Context, Location) (Identity, error) {
	return Identity{}, errors.New(string(k))
}

func (k only) Directory(context.Context, Location) (Directory, error) {
	return nil, errors.New(string(k))
}

func TestOpenerFindsTheKind(t *testing.T) {
	o := Opener{Kinds: []Kind{only(File), only("s3")}}
	for text, kind := range map[string]string{"/disk": File, "s3://bucket/disk": "s3"} {
		l, err := o.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open(t.Context(), l); err == nil || err.Error() != kind {
			t.Errorf("Open(%s): %v, want the kind %s", text, err, kind)
		}
		if _, err := o.Identify(t.Context(), l); err == nil || err.Error() != kind {
			t.Errorf("Identify(%s): %v, want the kind %s", text, err, kind)
		}
		if _, err := o.Directory(t.Context(), l); err == nil || err.Error() != kind {
			t.Errorf("Directory(%s): %v, want the kind %s", text, err, kind)
		}
	}
	_, err := o.Parse("nbd://host/disk")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "file, s3") {
		t.Errorf("a scheme of no kind: %v, want errors.ErrUnsupported and the schemes that are known", err)
	}
}

func TestAbsolute(t *testing.T) {
	o := Opener{Kinds: []Kind{only(File), only("https")}}
	for text, want := range map[string]string{"/a//b/../c": "/a/c", "https://h/a//b": "https://h/a//b"} {
		if l, err := o.Absolute(text); err != nil || l.String() != want {
			t.Errorf("%s is %s, %v, want %s", text, l, err, want)
		}
	}
	for _, text := range []string{"disk", "https://h/a?X-Amz-Signature=secret"} {
		if _, err := o.Absolute(text); !errors.Is(err, iofs.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want iofs.ErrInvalid without the query", text, err)
		}
	}
}
