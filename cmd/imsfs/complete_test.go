package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCompletionOnATree(t *testing.T) {
	root := fakeTree(t, map[string]string{
		"images/web/status": imageStatus, "images/db/status": imageStatus, "volumes/v/status": "state active\n",
	})
	for _, c := range []struct {
		args string
		has  []string // words
		not  []string
	}{
		{"show _", []string{"web", "db"}, nil},
		{"rm web _", []string{"db"}, nil},
		{"mv web _", nil, []string{"db"}},
		{"set web _", []string{"os", "firmware"}, []string{"owner"}},
		{"set v _", []string{"os", "owner", "shared"}, nil},
		{"set web os _", []string{"linux", "windows"}, []string{"x86_64"}},
		{"set v shared _", []string{"yes", "no"}, nil},
		{"register web web.raw _", []string{"os=", "load=", "backing="}, nil},
		{"register web web.raw load=_", []string{"load=full", "load=none"}, []string{"os="}},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := strings.Fields(c.args)
			args[len(args)-1] = strings.TrimSuffix(args[len(args)-1], "_")
			c2 := newConsole()
			c2.vars[mountVariable] = root
			c2.expect(t, 0, append([]string{"__complete"}, args...)...)
			var words []string
			for line := range strings.Lines(c2.out.String()) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				words = append(words, word)
			}
			for _, w := range c.has {
				if !slices.Contains(words, w) {
					t.Errorf("completes to %q, without %q", words, w)
				}
			}
			for _, w := range c.not {
				if slices.Contains(words, w) {
					t.Errorf("completes to %q, with %q", words, w)
				}
			}
		})
	}
}

func TestSplitRegister(t *testing.T) {
	for _, c := range []struct{ args, name, source, options string }{
		{"web.qcow2", "web", "web.qcow2", ""},
		{"/srv/web.raw.zvhd2 os=linux", "web.raw", "/srv/web.raw.zvhd2", "os=linux"},
		{"web a=b.raw os=linux", "web", "a=b.raw", "os=linux"},
		{"web web.raw", "web", "web.raw", ""},
		{".hidden", ".hidden", ".hidden", ""},
		{"https://host/dir/web.img?key=1", "web", "https://host/dir/web.img?key=1", ""},
	} {
		name, source, options := splitRegister(strings.Fields(c.args))
		if name != c.name || source != c.source || strings.Join(options, " ") != c.options {
			t.Errorf("%s: %q, %q, %q", c.args, name, source, options)
		}
	}
}
