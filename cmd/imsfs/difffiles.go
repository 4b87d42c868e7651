package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect/tree"
)

func newDiff(env *environment) *cobra.Command {
	var metadata bool
	cmd := insideCommand(env, &cobra.Command{
		Use:   "diff A[:SLICE]:/PATH B[:SLICE]:/PATH",
		Short: "Show in which files two images differ",
		Long: `Compare the files below two directories, of the same image or of two. A line is "- PATH" for a file that only A has,
"+ PATH" for one that only B has, "! PATH: …" with the differences of one that both have. Times are not compared.

Exit code 0: no difference; 1: there are some.`,
		Example: "  imsfs diff old.qcow2:/etc new.qcow2:/etc",
		Args:    exactly("A", "B"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return diffFiles(ctx, env, opts, args[0], args[1], metadata)
	})
	cmd.Flags().BoolVar(&metadata, "metadata", false, "do not compare the data of files of the same size")
	return cmd
}

func diffFiles(ctx context.Context, env *environment, opts insideOptions, argA, argB string, metadata bool) error {
	a, err := openSpot(ctx, env, opts, argA, true)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openSpot(ctx, env, opts, argB, true)
	if err != nil {
		return err
	}
	defer b.Close()
	d := &differ{ctx: ctx, env: env, a: a, b: b, metadata: metadata}
	if err := d.dir("", a.id, b.id, 0); err != nil {
		return inside(err)
	}
	if d.differ {
		return verdict(exitDiffer)
	}
	return nil
}

type differ struct {
	ctx      context.Context
	env      *environment
	a, b     *spot
	metadata bool
	differ   bool
}

func (d *differ) line(mark, path, text string) {
	d.differ = true
	fmt.Fprintf(d.env.stdout, "%s %s%s\n", mark, escape(path), text)
}

// dir compares two directories, or two files if path is empty.
func (d *differ) dir(path string, a, b tree.ID, depth int) error {
	if depth > tree.MaxDepth {
		return fmt.Errorf("%q: %w", path, tree.ErrLimit)
	}
	both, err := d.file(path, a, b)
	if err != nil || !both {
		return err
	}
	inA, orderA, err := entries(d.ctx, d.a.tree, a)
	if err != nil {
		return err
	}
	inB, orderB, err := entries(d.ctx, d.b.tree, b)
	if err != nil {
		return err
	}
	for _, name := range orderA {
		other, ok := inB[name]
		if !ok {
			d.line("-", path+"/"+name, "")
			continue
		}
		if err := d.dir(path+"/"+name, inA[name], other, depth+1); err != nil {
			return err
		}
	}
	for _, name := range orderB {
		if _, ok := inA[name]; !ok {
			d.line("+", path+"/"+name, "")
		}
	}
	return nil
}

func entries(ctx context.Context, t tree.Tree, dir tree.ID) (map[string]tree.ID, []string, error) {
	ids := map[string]tree.ID{}
	var order []string
	err := tree.ReadDir(ctx, t, dir, 0, func(e tree.Entry) bool {
		ids[string(e.Name)] = e.ID
		order = append(order, string(e.Name))
		return true
	})
	return ids, order, err
}

// file compares two files and reports whether both are directories.
func (d *differ) file(path string, a, b tree.ID) (dirs bool, err error) {
	attrA, err := d.a.tree.Stat(d.ctx, a)
	if err != nil {
		return false, fmt.Errorf("%q: %w", path, err)
	}
	attrB, err := d.b.tree.Stat(d.ctx, b)
	if err != nil {
		return false, fmt.Errorf("%q: %w", path, err)
	}
	if attrA.Type() != attrB.Type() {
		d.line("!", path, fmt.Sprintf(": %s, %s", typeName(attrA.Type()), typeName(attrB.Type())))
		return false, nil
	}
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if attrA.Mode != attrB.Mode {
		add("mode %04o, %04o", attrA.Perm(), attrB.Perm())
	}
	if attrA.UID != attrB.UID || attrA.GID != attrB.GID {
		add("owner %d:%d, %d:%d", attrA.UID, attrA.GID, attrB.UID, attrB.GID)
	}
	switch attrA.Type() {
	case tree.TypeFile:
		if attrA.Size != attrB.Size {
			add("size %d, %d", attrA.Size, attrB.Size)
		} else if !d.metadata {
			same, err := d.sameData(attrA, attrB)
			if err != nil {
				return false, fmt.Errorf("%q: %w", path, err)
			}
			if !same {
				add("data")
			}
		}
	case tree.TypeLink:
		targetA, errA := tree.Readlink(d.ctx, d.a.tree, a)
		targetB, errB := tree.Readlink(d.ctx, d.b.tree, b)
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
		if string(targetA) != string(targetB) {
			add("target %s, %s", escape(targetA), escape(targetB))
		}
	}
	if len(list) > 0 {
		d.line("!", orElse(path, "/"), ": "+strings.Join(list, "; "))
	}
	return attrA.IsDir(), nil
}

// sameData compares two files of the same size.
func (d *differ) sameData(a, b tree.Attr) (bool, error) {
	errDiffer := errors.New("differ")
	other := make([]byte, copyBuffer)
	compare := func(p []byte, off int64) error {
		q := other[:len(p)]
		if n, err := d.b.tree.ReadAt(d.ctx, b.ID, q, off); n < len(q) {
			return errOr(err, io.ErrUnexpectedEOF)
		}
		if string(p) != string(q) {
			return errDiffer
		}
		return nil
	}
	at := int64(0)
	err := copyFile(d.ctx, d.a.tree, a, func(p []byte, off int64) error {
		at = off + int64(len(p))
		return compare(p, off)
	}, func(n int64) error {
		zeros := make([]byte, min(n, copyBuffer))
		for end := at + n; at < end; {
			p := zeros[:min(int64(len(zeros)), end-at)]
			if err := compare(p, at); err != nil {
				return err
			}
			at += int64(len(p))
		}
		return nil
	})
	if errors.Is(err, errDiffer) {
		return false, nil
	}
	return err == nil, err
}
