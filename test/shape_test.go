package test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// maxLoop is how many files of a package of lifecycle may refer to each other in a circle.
const maxLoop = 5

// TestFilesAreTopics: no file of lifecycle is in a loop of more than maxLoop files. A file refers to
// another if it uses a function, type, variable or constant that is declared there. (Methods do not
// count: they are found by their receiver's type.)
func TestFilesAreTopics(t *testing.T) {
	packages := map[string][]*sourceFile{}
	for _, f := range goFiles(t) {
		if dir := path.Dir(f.name); !f.outside() && (dir == "lifecycle" || strings.HasPrefix(dir, "lifecycle/")) {
			packages[dir] = append(packages[dir], f)
		}
	}
	if len(packages) < 5 {
		t.Fatalf("only %d packages of lifecycle were found", len(packages))
	}
	for dir, files := range packages {
		for _, loop := range loops(references(files)) {
			if len(loop) > maxLoop {
				t.Errorf("%s: %d files are one loop: %s", dir, len(loop), strings.Join(loop, " "))
			}
		}
	}
}

// references returns for each file of a package the files whose declarations it uses.
func references(files []*sourceFile) map[string][]string {
	home := map[string]string{} // of a declared name
	for _, f := range files {
		for _, decl := range f.tree.Decls {
			for _, name := range declared(decl) {
				home[name] = f.name
			}
		}
	}
	uses := map[string][]string{}
	for _, f := range files {
		uses[f.name], f.fields = nil, map[*ast.Ident]bool{}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			f.use(n, home, uses)
			return true
		})
	}
	return uses
}

// use notes where a name that is used was declared. The names of fields, methods and other packages'
// things are not looked at.
func (f *sourceFile) use(n ast.Node, home map[string]string, uses map[string][]string) {
	switch n := n.(type) {
	case *ast.Ident:
		if at := home[n.Name]; at != "" && at != f.name && !f.fields[n] && !slices.Contains(uses[f.name], at) {
			uses[f.name] = append(uses[f.name], at)
		}
	case *ast.SelectorExpr:
		f.fields[n.Sel] = true
	case *ast.Field:
		for _, name := range n.Names {
			f.fields[name] = true
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok {
			f.fields[key] = true
		}
	case *ast.FuncDecl:
		if n.Recv != nil {
			f.fields[n.Name] = true
		}
	}
}

// declared lists the names of a declaration of a package, without methods.
func declared(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

// loops returns the sets of files that reach each other, by Tarjan's algorithm.
func loops(uses map[string][]string) (all [][]string) {
	index, low := map[string]int{}, map[string]int{}
	var stack []string
	var visit func(v string)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack = append(stack, v)
		for _, w := range uses[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if slices.Contains(stack, w) {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		all = append(all, slices.Sorted(slices.Values(stack[at:])))
		stack = stack[:at]
	}
	for v := range uses {
		if index[v] == 0 {
			visit(v)
		}
	}
	return all
}

func TestLoops(t *testing.T) {
	got := loops(map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": nil})
	slices.SortFunc(got, slices.Compare)
	want := [][]string{{"a", "b", "c"}, {"d"}, {"e"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("loops %q, want %q", got, want)
	}
}

// wide are the interfaces with more than four methods, each with its reason.
var wide = map[string]string{
	"blockstore.Keeper":     "a disk is created, cloned, listed, evicted and deleted by one owner, the registry",
	"blockstore.Carer":      "one of these runs at a time in one store, whoever asks for it",
	"inspect/tree.Tree":     "a file system is described, walked and read by one caller; every driver has all five, and roles are separate",
	"lazyload/overlay.File": "a file of a delta is read, written, cut, punched and synced by one owner; faults are injected here",
}

// TestInterfacesAreSmall: an interface has one to four methods of its own; embedded ones are counted
// where they are declared.
func TestInterfacesAreSmall(t *testing.T) {
	found := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.outside() {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			it, ok := spec.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			methods := 0
			for _, m := range it.Methods.List {
				methods += len(m.Names)
			}
			name := path.Dir(f.name) + "." + spec.Name.Name
			if found[name] = true; methods > 4 && wide[name] == "" {
				t.Errorf("%s:%d: %s has %d methods, at most 4: split it by its users, or say in shape_test.go why not", f.name, f.line(spec), name, methods)
			}
			if methods <= 4 && wide[name] != "" {
				t.Errorf("%s is in the table of wide interfaces, and has %d methods: take it out", name, methods)
			}
			return true
		})
	}
	for name := range wide {
		if !found[name] {
			t.Errorf("%s is in the table of wide interfaces, and there is none of that name", name)
		}
	}
}
