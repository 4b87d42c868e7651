package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sourceFile is a file of the project, parsed.
type sourceFile struct {
	name string // relative to the top
	text []byte
	set  *token.FileSet
	tree *ast.File

	fields map[*ast.Ident]bool // names that are a field's, a method's or another package's; set by references
}

func (f *sourceFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// outside reports whether a file is outside the program: a test, a helper of tests, or a benchmark.
func (f *sourceFile) outside() bool {
	return f.isTest() || strings.HasPrefix(f.name, "test/") || strings.HasPrefix(f.name, "formats/formattest/") ||
		strings.HasPrefix(f.name, "inspect/tree/treetest/")
}

func (f *sourceFile) line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

func (f *sourceFile) lines() [][]byte { return bytes.Split(f.text, []byte("\n")) }

// goFiles returns all Go files of the project.
func goFiles(t *testing.T) []*sourceFile {
	t.Helper()
	var files []*sourceFile
	err := filepath.WalkDir("..", func(p string, e iofs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (e.Name() == "testdata" || e.Name() == ".git") {
			return errorOr(err, iofs.SkipDir)
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f := &sourceFile{name: strings.TrimPrefix(p, "../"), set: token.NewFileSet()}
		if f.text, err = os.ReadFile(p); err != nil {
			return err
		}
		f.tree, err = parser.ParseFile(f.set, p, f.text, parser.ParseComments)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}

func errorOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// ban names identifiers of another package that must not be used.
type ban struct {
	pkg     string
	names   []string
	called  bool // only calls are banned, not mentions
	allowed func(f *sourceFile) bool
	why     string
}

func nowhere(*sourceFile) bool          { return false }
func inMain(f *sourceFile) bool         { return f.name == "cmd/imsfs/main.go" || f.outside() }
func inCommand(f *sourceFile) bool      { return strings.HasPrefix(f.name, "cmd/") || f.outside() }
func outsideProgram(f *sourceFile) bool { return f.outside() }

var bans = []ban{
	{"os", []string{"Exit"}, false, inMain, "deferred calls do not run; the exit code is run's result"},
	{"os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Args"}, false, inMain, "what a command meets is in its environment value"},
	{"os", []string{"Stdin", "Stdout", "Stderr"}, false, inMain, "what a command meets is in its environment value"},
	{"time", []string{"Now", "Since", "Until"}, true, inCommand, "the clock is passed in, so that tests can set it"},
	{"time", []string{"Sleep"}, false, nowhere, "wait for the event itself"},
	{"fmt", []string{"Print", "Printf", "Println"}, false, outsideProgram, "results go to the command's stdout, everything else to the log"},
	{"log/slog", []string{"Default", "SetDefault", "Debug", "Info", "Warn", "Error"}, false, outsideProgram, "the log is passed in"},
	{"github.com/hanwen/go-fuse/v2/fs", []string{"ToErrno"}, false, nowhere, "it does not unwrap, and makes ENOSYS of what it does not know, which the kernel remembers"},
	{"context", []string{"TO" + "DO"}, false, nowhere, "say which context it is"},
}

func TestBannedUses(t *testing.T) {
	for _, f := range goFiles(t) {
		names := imports(f)
		called := map[ast.Expr]bool{}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				called[call.Fun] = true
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok || x.Obj != nil { // a variable, which may have a package's name
				return true
			}
			for _, b := range bans {
				if names[x.Name] == b.pkg && slices.Contains(b.names, sel.Sel.Name) && (!b.called || called[sel]) && !b.allowed(f) {
					t.Errorf("%s:%d: %s.%s: %s", f.name, f.line(sel), x.Name, sel.Sel.Name, b.why)
				}
			}
			return true
		})
	}
}

// imports maps the names of a file's imports to their paths.
func imports(f *sourceFile) map[string]string {
	names := map[string]string{}
	for _, spec := range f.tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // not reached: the parser has checked it
		}
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

// TestBannedDeclarations: nothing runs before main, and a panic names the mistake that it stands
// for.
func TestBannedDeclarations(t *testing.T) {
	for _, f := range goFiles(t) {
		lines := f.lines()
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s:%d: init(): what a package needs is passed to it", f.name, f.line(n))
				}
			case *ast.CallExpr:
				name, ok := n.Fun.(*ast.Ident)
				if ok && name.Name == "panic" && !f.outside() && !bytes.Contains(lines[f.line(n)-1], []byte("// bug:")) {
					t.Errorf("%s:%d: panic without a // bug: comment on its line, which says what mistake of ours it stands for", f.name, f.line(n))
				}
			}
			return true
		})
		for i, line := range lines {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if bytes.Contains(line, []byte(word)) {
					t.Errorf("%s:%d: %s: do it, or write it where work is planned", f.name, i+1, word)
				}
			}
		}
		if n := len(lines) - 1; n > 450 {
			t.Errorf("%s has %d lines, at most 450: a topic a file", f.name, n)
		}
	}
}

// TestNoPackageState: a package-level variable of the program is a table or a sentinel. It is not
// assigned to after its declaration, and is not a channel, an atomic or a lock. A sync.Pool is
// allowed, because it keeps memory and not state.
func TestNoPackageState(t *testing.T) {
	byPackage := map[string][]*sourceFile{}
	for _, f := range goFiles(t) {
		if !f.outside() {
			byPackage[path.Dir(f.name)] = append(byPackage[path.Dir(f.name)], f)
		}
	}
	for _, files := range byPackage {
		declared := map[string]bool{}
		for _, f := range files {
			for _, name := range packageVariables(t, f) {
				declared[name] = true
			}
		}
		for _, f := range files {
			for _, x := range changed(f) {
				if x.Name != "_" && declared[x.Name] && atPackageLevel(f, x) {
					t.Errorf("%s:%d: the package-level variable %s is changed: keep state in a value that is passed", f.name, f.line(x), x.Name)
				}
			}
		}
	}
}

// packageVariables lists a file's package-level variables, and reports those of a forbidden type.
func packageVariables(t *testing.T, f *sourceFile) []string {
	t.Helper()
	var names []string
	for _, d := range f.tree.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			spec := s.(*ast.ValueSpec)
			for _, name := range spec.Names {
				names = append(names, name.Name)
			}
			if what := forChanging(spec); what != "" {
				t.Errorf("%s:%d: a package-level %s: keep state in a value that is passed", f.name, f.line(spec), what)
			}
		}
	}
	return names
}

// forChanging returns the channel, atomic or lock in a declaration. It ignores function bodies.
func forChanging(spec *ast.ValueSpec) (what string) {
	ast.Inspect(spec, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit, *ast.FuncType:
			return false
		case *ast.ChanType:
			what = "channel"
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && (x.Name == "atomic" || x.Name == "sync" && n.Sel.Name != "Pool" && !strings.HasPrefix(n.Sel.Name, "OnceValue")) {
				what = x.Name + "." + n.Sel.Name
			}
		}
		return true
	})
	return what
}

// changed lists the variables that a file's statements assign to, in whole or in part.
func changed(f *sourceFile) []*ast.Ident {
	var found []*ast.Ident
	add := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.Ident:
				found = append(found, x)
				return
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			default:
				return
			}
		}
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "delete" || name.Name == "clear") && len(n.Args) > 0 {
				add(n.Args[0])
			}
		}
		return true
	})
	return found
}

// atPackageLevel reports whether x is a variable of the package and not a local one of the same
// name. The parser resolves the names that the file declares, and leaves the others open.
func atPackageLevel(f *sourceFile, x *ast.Ident) bool {
	return x.Obj == nil || f.tree.Scope.Lookup(x.Name) == x.Obj
}
