package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/lifecycle"
	verbs "github.com/imsfs/imsfs/lifecycle/command"
)

// verbTables are the tables of verbs by the names that docs/control-files.md has for them.
func verbTables() map[string][]verbs.Spec {
	return map[string][]verbs.Spec{"store": lifecycle.StoreVerbs(), "image": lifecycle.ImageVerbs(), "volume": lifecycle.VolumeVerbs()}
}

// TestVerbsOfTheDocs: the tables of verbs in docs/control-files.md are those of the program.
// IMSFS_UPDATE=1 writes them anew.
func TestVerbsOfTheDocs(t *testing.T) {
	const page = "../docs/control-files.md"
	text := string(readFile(t, page))
	for name, table := range verbTables() {
		begin, end := "<!-- verbs:"+name+" -->\n", "<!-- /verbs -->"
		_, after, found := strings.Cut(text, begin)
		old, rest, closed := strings.Cut(after, end)
		if !found || !closed {
			t.Fatalf("%s has no %s … %s", page, strings.TrimSpace(begin), end)
		}
		want := verbTable(table)
		if old != want && os.Getenv("IMSFS_UPDATE") == "" {
			t.Errorf("the verbs of %s are not those of the program (IMSFS_UPDATE=1 writes them):\n%swant\n%s", name, old, want)
		}
		text = strings.TrimSuffix(text, after) + want + end + rest
	}
	if os.Getenv("IMSFS_UPDATE") != "" {
		must(t, os.WriteFile(page, []byte(text), 0o644))
	}
}

// verbTable is a table of verbs, and one of each verb's own keys.
func verbTable(table []verbs.Spec) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| command | in states | does |\n|---|---|---|")
	for _, v := range table {
		states, help := "all", v.Help
		if v.In != nil {
			var names []string
			for _, s := range v.In {
				names = append(names, string(s))
			}
			states = strings.Join(names, ", ")
		}
		if v.Job {
			help += ". A job"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Usage(), states, help)
	}
	fmt.Fprintln(&b, "\n| key of | key | value | means |\n|---|---|---|---|")
	attributes := map[string]bool{}
	for _, o := range lifecycle.Attributes() {
		attributes[o.Key] = true
	}
	for _, v := range table {
		own := 0
		for _, o := range v.Options {
			if attributes[o.Key] {
				continue
			}
			own++
			words := "any text"
			if o.Rule != nil {
				words = o.Rule.Words()
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", v.Name, o.Key, words, o.Help)
		}
		if own < len(v.Options) {
			fmt.Fprintf(&b, "| `%s` | an attribute | see below | sets it |\n", v.Name)
		}
		if v.Others != "" {
			fmt.Fprintf(&b, "| `%s` | any other | %s | |\n", v.Name, v.Others)
		}
	}
	return b.String()
}

// TestVerbsOfTheTree: a ctl lists the rows of its table, and no others.
func TestVerbsOfTheTree(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 41)
	d.register(t, "web", m.path)
	d.mayKeep(m.path)
	d.run(t, "web", "clone one")
	for target, table := range map[string][]verbs.Spec{"": lifecycle.StoreVerbs(), "web": lifecycle.ImageVerbs(), "volumes/one": lifecycle.VolumeVerbs()} {
		lines := strings.Split(strings.TrimSuffix(read(t, d.ctl(target)), "\n"), "\n")
		if len(lines) != len(table) {
			t.Errorf("%q lists %d verbs of %d", target, len(lines), len(table))
			continue
		}
		for n, v := range table {
			if !strings.HasPrefix(lines[n], v.Usage()+"  # "+v.Help) {
				t.Errorf("%q lists %q for %s", target, lines[n], v.Usage())
			}
		}
	}
}
