package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// page is a Markdown file of the project.
type page struct {
	name  string // relative to the top
	text  string // without fenced code
	code  string // fenced code only
	slugs []string
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading   = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	command   = regexp.MustCompile(`(?m)(?:^\$ |[|&;] |^sudo |^)imsfs ([a-z]+)(?: ([a-z]+))?`)
	layoutRow = regexp.MustCompile("(?m)^\\| (`[a-z][^|]*) \\|")
	helpRow   = regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)
)

// TestDocsLinks checks that each relative link in the documentation leads to a file, and to a
// heading if it names one.
func TestDocsLinks(t *testing.T) {
	pages := readPages(t)
	checked := 0
	for _, p := range pages {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(target, "#")
			at := p.name
			if file != "" {
				at = filepath.Join(filepath.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join("..", at)); err != nil {
				t.Errorf("%s: link %s: %v", p.name, target, err)
				continue
			}
			if anchor == "" {
				continue
			}
			i := slices.IndexFunc(pages, func(p page) bool { return p.name == at })
			if i < 0 || !slices.Contains(pages[i].slugs, anchor) {
				t.Errorf("%s: link %s: %s has no heading %q", p.name, target, at, anchor)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found in %d pages", checked, len(pages))
	}
}

// TestDocsReachable checks that each page of docs is linked from another page, so that a reader
// finds it.
func TestDocsReachable(t *testing.T) {
	pages := readPages(t)
	linked := map[string]bool{}
	for _, p := range pages {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			file, _, _ := strings.Cut(m[1], "#")
			if at := filepath.Join(filepath.Dir(p.name), file); at != p.name {
				linked[at] = true
				linked[filepath.Join(at, "README.md")] = true // shown with a directory
			}
		}
	}
	for _, p := range pages {
		if strings.HasPrefix(p.name, "docs/") && !linked[p.name] {
			t.Errorf("%s: no page links to it: add it to docs/README.md", p.name)
		}
	}
}

// TestDocsCommands checks that the commands in code blocks of the documentation are commands of
// the program.
func TestDocsCommands(t *testing.T) {
	known := func(args ...string) []string {
		t.Helper()
		r := imsfs(t, append([]string{"help"}, args...)...)
		var names []string
		for _, m := range helpRow.FindAllStringSubmatch(r.stdout, -1) {
			names = append(names, m[1])
		}
		return names
	}
	commands, ofStore := known(), known("store")
	if len(commands) < 20 || len(ofStore) < 3 {
		t.Fatalf("imsfs help lists %d commands, imsfs help store %d", len(commands), len(ofStore))
	}
	checked := 0
	for _, p := range readPages(t) {
		for _, m := range command.FindAllStringSubmatch(p.code, -1) {
			checked++
			if !slices.Contains(commands, m[1]) {
				t.Errorf("%s: imsfs %s: is not a command", p.name, m[1])
			}
			if m[1] == "store" && !slices.Contains(ofStore, m[2]) {
				t.Errorf("%s: imsfs store %s: is not a command", p.name, m[2])
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d commands were found", checked)
	}
}

// TestDocsLayout checks that CONTRIBUTING.md says of each package what it is for.
func TestDocsLayout(t *testing.T) {
	text := string(readFile(t, "../CONTRIBUTING.md"))
	var rows []string // patterns
	for _, m := range layoutRow.FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			rows = append(rows, strings.ReplaceAll(strings.Trim(name, "`"), "NAME", "*"))
		}
	}
	if len(rows) < 20 {
		t.Fatalf("the layout has %d rows", len(rows))
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		known := func(row string) bool { return match(row, name) }
		if !strings.HasPrefix(name, "test/") && !slices.ContainsFunc(rows, known) {
			t.Errorf("%s is not in the layout", name)
		}
	}
}

// readPages returns the Markdown files at the top and in docs.
func readPages(t *testing.T) []page {
	t.Helper()
	var pages []page
	add := func(path string) {
		t.Helper()
		b := read(t, path)
		p := page{name: strings.TrimPrefix(path, "../"), text: codeBlock.ReplaceAllString(b, "")}
		p.code = strings.Join(codeBlock.FindAllString(b, -1), "\n")
		for _, m := range heading.FindAllStringSubmatch(p.text, -1) {
			p.slugs = append(p.slugs, slug(m[1]))
		}
		pages = append(pages, p)
	}
	top, err := filepath.Glob("../*.md")
	must(t, err)
	for _, path := range top {
		add(path)
	}
	err = filepath.WalkDir("../docs", func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			add(path)
		}
		return err
	})
	must(t, err)
	return pages
}

// slug returns a heading's anchor as GitHub makes it, for example "a-volume-volumesnamectl" of
// "A volume: `volumes/NAME/ctl`".
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}
