package main

import (
	"archive/tar"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect/tree"
)

func newTar(env *environment) *cobra.Command {
	return insideCommand(env, &cobra.Command{
		Use:   "tar IMAGE[:SLICE]:/PATH",
		Short: "Write files inside an image to stdout as a tar archive",
		Long: `Write the files below a directory to stdout as a pax archive: with modes, owners, times in nanoseconds, links, devices and
extended attributes, as the image has them. (virt-tar-out)`,
		Example: "  imsfs tar disk.qcow2:/etc > etc.tar",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		s, err := openSpot(ctx, env, opts, args[0], true)
		if err != nil {
			return err
		}
		defer s.Close()
		w := &archiver{ctx: ctx, s: s, out: tar.NewWriter(env.stdout), names: map[tree.ID]string{}}
		err = s.walk(ctx, env, w.add)
		return errOr(err, w.out.Close())
	})
}

type archiver struct {
	ctx   context.Context
	s     *spot
	out   *tar.Writer
	names map[tree.ID]string // of files with several names, the first one
}

func (w *archiver) add(f tree.File) error {
	h, err := w.header(f)
	if err != nil {
		return fmt.Errorf("tar: %q: %w", f.Path, err)
	}
	if h == nil {
		return nil
	}
	if err := w.out.WriteHeader(h); err != nil {
		return fmt.Errorf("tar: %q: %w", f.Path, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	err = copyFile(w.ctx, w.s.tree, f.Attr, func(p []byte, _ int64) error {
		_, err := w.out.Write(p)
		return err
	}, func(n int64) error { return writeZeros(w.ctx, w.out, n) })
	if err != nil {
		return fmt.Errorf("tar: %q: %w", f.Path, err)
	}
	return nil
}

// header returns the header of a file, or nil for a socket, which archives cannot hold.
func (w *archiver) header(f tree.File) (*tar.Header, error) {
	a := f.Attr
	h := &tar.Header{
		Format: tar.FormatPAX, Name: "./" + string(f.Path), Mode: int64(a.Perm()), Uid: int(a.UID), Gid: int(a.GID),
		PAXRecords: map[string]string{},
	}
	if !a.IsDir() && len(f.Path) == 0 {
		h.Name = w.s.path[strings.LastIndexByte(w.s.path, '/')+1:]
	}
	if a.Mtime.Known {
		h.ModTime = time.Unix(a.Mtime.Sec, int64(a.Mtime.Nsec))
	}
	if first, ok := w.names[a.ID]; ok && a.Links > 1 && !a.IsDir() {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return h, nil
	}
	switch a.Type() {
	case tree.TypeDir:
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
	case tree.TypeFile:
		h.Typeflag, h.Size = tar.TypeReg, a.Size
	case tree.TypeLink:
		target, err := tree.Readlink(w.ctx, w.s.tree, a.ID)
		if err != nil {
			return nil, err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(target)
	case tree.TypeBlock, tree.TypeChar:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, int64(a.Major), int64(a.Minor)
		if a.Type() == tree.TypeChar {
			h.Typeflag = tar.TypeChar
		}
	case tree.TypeFifo:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, nil
	}
	if a.Links > 1 && !a.IsDir() {
		w.names[a.ID] = h.Name
	}
	xattrs, err := tree.Xattrs(w.ctx, w.s.tree, a.ID)
	for _, x := range xattrs {
		if !strings.Contains(x.Name, "=") {
			h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
		}
	}
	return h, err
}
