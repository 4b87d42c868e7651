package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	iofs "io/fs"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect/tree"
)

type lsFilesOptions struct{ long, recursive, json bool }

func newLsFiles(env *environment) *cobra.Command {
	var ls lsFilesOptions
	cmd := insideCommand(env, &cobra.Command{
		Use:   "ls-files IMAGE[:SLICE]:/PATH",
		Short: "List files inside an image",
		Long: `List a directory inside an image, or a file. Without SLICE the root of its only operating system is meant, or else its
only file system. Names are escaped as by ls -b. (virt-ls)`,
		Example: "  imsfs ls-files disk.qcow2:/etc -l\n  imsfs ls-files web:p2:/ -R --json",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return lsFiles(ctx, env, opts, ls, args[0])
	})
	flags := cmd.Flags()
	flags.BoolVarP(&ls.long, "long", "l", false, "with modes, owners, sizes, times and link targets")
	flags.BoolVarP(&ls.recursive, "recursive", "R", false, "with all directories below")
	flags.BoolVar(&ls.json, "json", false, "print JSON, an object a line")
	return cmd
}

// fileReport is the JSON form of a file.
type fileReport struct {
	Path      string `json:"path"`
	PathB64   string `json:"path_b64,omitempty"` // of a path that is not UTF-8
	Type      string `json:"type"`
	Mode      string `json:"mode"`
	UID       uint32 `json:"uid"`
	GID       uint32 `json:"gid"`
	Links     uint32 `json:"links"`
	Size      int64  `json:"size"`
	Allocated int64  `json:"allocated"`
	Inode     uint64 `json:"inode"`
	Mtime     string `json:"mtime,omitempty"`
	Target    string `json:"target,omitempty"`
	Major     uint32 `json:"major,omitempty"`
	Minor     uint32 `json:"minor,omitempty"`
}

func lsFiles(ctx context.Context, env *environment, opts insideOptions, ls lsFilesOptions, arg string) error {
	s, err := openSpot(ctx, env, opts, arg, true)
	if err != nil {
		return err
	}
	defer s.Close()
	out := bufio.NewWriter(env.stdout)
	lister := &lister{ctx: ctx, s: s, ls: ls, out: out, env: env}
	err = s.walk(ctx, env, func(f tree.File) error {
		switch {
		case len(f.Path) == 0 && f.Attr.IsDir():
			return nil
		case len(f.Path) == 0:
			f.Path = []byte(s.path)
		}
		err := lister.print(f)
		if err == nil && f.Attr.IsDir() && !ls.recursive {
			err = iofs.SkipDir
		}
		return err
	})
	return errOr(err, out.Flush())
}

// walk visits the files below the spot. A file that cannot be read is reported on stderr, and makes the
// exit code that of its damage.
func (s *spot) walk(ctx context.Context, env *environment, fn func(f tree.File) error) error {
	var first error
	err := tree.Walk(ctx, s.tree, s.id, func(f tree.File, err error) error {
		if err != nil {
			err = fmt.Errorf("%s: %q: %w", s.name, f.Path, err)
			fmt.Fprintf(env.stderr, "imsfs: %s\n", oneLine(err))
			first = errOr(first, err)
			return nil
		}
		return fn(f)
	})
	if err != nil {
		return inside(err)
	}
	if first != nil {
		var e *insideError
		if errors.As(inside(first), &e) {
			return verdict(e.code)
		}
	}
	return nil
}

type lister struct {
	ctx context.Context
	s   *spot
	ls  lsFilesOptions
	out *bufio.Writer
	env *environment
}

func (l *lister) print(f tree.File) error {
	target := ""
	if f.Attr.Type() == tree.TypeLink && (l.ls.long || l.ls.json) {
		t, err := tree.Readlink(l.ctx, l.s.tree, f.Attr.ID)
		if err != nil {
			fmt.Fprintf(l.env.stderr, "imsfs: %q: %s\n", f.Path, oneLine(err))
		}
		target = string(t)
	}
	switch {
	case l.ls.json:
		return l.printJSON(f, target)
	case l.ls.long:
		a := f.Attr
		length := fmt.Sprint(a.Size)
		if a.Type() == tree.TypeBlock || a.Type() == tree.TypeChar {
			length = fmt.Sprintf("%d,%d", a.Major, a.Minor)
		}
		fmt.Fprintf(l.out, "%s %3d %5d %5d %10s %s %s", modeString(a.Mode), a.Links, a.UID, a.GID, length, timeText(a.Mtime), escape(f.Path))
		if target != "" {
			fmt.Fprintf(l.out, " -> %s", escape(target))
		}
		_, err := fmt.Fprintln(l.out)
		return err
	}
	_, err := fmt.Fprintln(l.out, escape(f.Path))
	return err
}

func timeText(t tree.Time) string {
	if !t.Known {
		return "-"
	}
	return time.Unix(t.Sec, int64(t.Nsec)).UTC().Format("2006-01-02T15:04:05Z")
}

func typeName(kind uint32) string {
	switch kind {
	case tree.TypeFile:
		return "file"
	case tree.TypeDir:
		return "dir"
	case tree.TypeLink:
		return "link"
	case tree.TypeBlock:
		return "block"
	case tree.TypeChar:
		return "char"
	case tree.TypeFifo:
		return "fifo"
	case tree.TypeSocket:
		return "socket"
	}
	return "unknown"
}

func (l *lister) printJSON(f tree.File, target string) error {
	a := f.Attr
	r := fileReport{
		Path: string(f.Path), Type: typeName(a.Type()), Mode: fmt.Sprintf("%04o", a.Perm()), UID: a.UID, GID: a.GID, Links: a.Links,
		Size: a.Size, Allocated: a.Allocated, Inode: uint64(a.ID), Target: target, Major: a.Major, Minor: a.Minor,
	}
	if !utf8.Valid(f.Path) {
		r.PathB64 = base64.StdEncoding.EncodeToString(f.Path)
	}
	if a.Mtime.Known {
		r.Mtime = time.Unix(a.Mtime.Sec, int64(a.Mtime.Nsec)).UTC().Format(time.RFC3339Nano)
	}
	return writeLine(l.out, r)
}
