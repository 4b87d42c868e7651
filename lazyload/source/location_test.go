package source

import (
	"strings"
	"testing"
)

func parse(t *testing.T, text string) Location {
	t.Helper()
	l, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return l
}

func TestParseAndString(t *testing.T) {
	for _, c := range []struct{ text, shown, base, dir string }{
		{"/srv/disk.raw", "/srv/disk.raw", "disk.raw", "/srv"},
		{"disk.raw", "disk.raw", "disk.raw", "."},
		{"./http://x/y", "./http://x/y", "y", "http:/x"},
		{"C:disk", "C:disk", "C:disk", "."},
		{"https://Example.org/a/b.qcow2", "https://example.org/a/b.qcow2", "b.qcow2", "https://example.org/a/"},
		{"https://h:8443/b%20c", "https://h:8443/b%20c", "b c", "https://h:8443/"},
		{"https://h/a%2Fb", "https://h/a%2Fb", "a/b", "https://h/"},
		{"https://h/a?X-Amz-Signature=0123", "https://h/a?…", "a", "https://h/"},
		{"s3://bucket/k/e/y", "s3://bucket/k/e/y", "y", "s3://bucket/k/e/"},
		{"https://[::1]:80/x", "https://[::1]:80/x", "x", "https://[::1]:80/"},
		{"https://h", "https://h/", "/", "https://h/"},
	} {
		l := parse(t, c.text)
		if l.String() != c.shown || l.Base() != c.base || l.Dir().String() != c.dir {
			t.Errorf("%s: shown as %s, base %s, dir %s, want %s, %s, %s",
				c.text, l, l.Base(), l.Dir(), c.shown, c.base, c.dir)
		}
		if l.Scheme != File && !strings.EqualFold(l.URL(), c.text) && c.text != "https://h" {
			t.Errorf("%s has the URL %s", c.text, l.URL())
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"https://user:secret@host/x": "credentials",
		"https:///x":                 "no host",
		"https://h/x#f":              "fragment",
		"https://h/%zz?secret":       "not a URL",
		"https://h:port/secret":      "not a URL",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q and no secret", text, err, says)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct{ dir, name, want string }{
		{"/srv/", "base", "/srv/base"},
		{"/srv", "./sub//base", "/srv/sub/base"},
		{"/srv", "/etc/x", "/etc/x"},
		{".", "base", "base"},
		{"https://h/a/", "sub/b c?d", "https://h/a/sub/b%20c%3Fd"},
		{"https://h/", "base", "https://h/base"},
	} {
		if got := parse(t, c.dir).Join(c.name).String(); got != c.want {
			t.Errorf("%s joined with %s is %s, want %s", c.dir, c.name, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/a/b", "https://h/a%2Fb?q#f", "s3://b/k", "://", "https://u@h/", "http://[::1", "a\x00b", "https://h/\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		if l.Scheme == File {
			if l.String() != text {
				t.Fatalf("the path %q is shown as %q", text, l)
			}
			return
		}
		again, err := Parse(l.URL())
		if err != nil || again != l {
			t.Fatalf("%q is %+v, and its URL %q is %+v, %v", text, l, l.URL(), again, err)
		}
	})
}
