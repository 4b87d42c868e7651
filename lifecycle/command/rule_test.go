package command

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "web server 2": true, "Bücher": true, "...": true, ".hidden": true, strings.Repeat("x", 255): true, "a-b": true,
		"": false, ".": false, "..": false, "a/b": false, "/": false, " a": false, "a ": false, "-a": false, "a\nb": false,
		"a\x00": false, "a\u0080": false, "\xff": false, strings.Repeat("x", 256): false, "\u00a0a": false,
	} {
		if err := Name().Check(name); (err == nil) != good {
			t.Errorf("Name(%q) = %v, want allowed: %v", name, err, good)
		}
	}
}
