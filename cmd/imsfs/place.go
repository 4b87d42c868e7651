package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/lazyload"
)

// place is a file inside an image, as the command line names it: IMAGE[:SLICE][:]/PATH.
type place struct{ image, slice, path string }

// parsePlace splits an argument. The image is the longest beginning that is an existing file, because
// paths may have colons, and else ends at the first colon.
func parsePlace(arg string, exists func(path string) bool) place {
	if exists(arg) {
		return place{image: arg, path: "/"}
	}
	cut := strings.IndexByte(arg, ':')
	for i := len(arg) - 1; i > 0; i-- {
		if arg[i] == ':' && exists(arg[:i]) {
			cut = i
			break
		}
	}
	if cut < 0 {
		return place{image: arg, path: "/"}
	}
	p := place{image: arg[:cut], path: "/"}
	rest := arg[cut+1:]
	switch i := strings.Index(rest, ":/"); {
	case strings.HasPrefix(rest, "/"):
		p.path = rest
	case i >= 0:
		p.slice, p.path = rest[:i], rest[i+1:]
	default:
		var path string
		p.slice, path, _ = strings.Cut(rest, "/")
		p.path = "/" + path
	}
	return p
}

// insideOptions are the flags of all commands that look inside an image.
type insideOptions struct {
	image    imageOptions
	allow    []string
	mount    string
	noReplay bool
}

func insideFlags(env *environment, cmd *cobra.Command, opts *insideOptions) {
	imageFlags(env, cmd, &opts.image, "IMAGE", "", "f")
	allowFlag(cmd, &opts.allow)
	cmd.Flags().StringVar(&opts.mount, "mount", "", "where the tree with registered images is mounted (else $"+mountVariable+", else the only one)")
	must(cmd.MarkFlagDirname("mount"))
	cmd.Flags().BoolVar(&opts.noReplay, "no-replay", false, "leave the logs of file systems alone, as a boot loader does")
}

// insides is an open image with its layout.
type insides struct {
	layout *inspect.Layout
	name   string
	format string
	closes []func() error
}

func (i *insides) Close() error {
	var errs []error
	for n := len(i.closes) - 1; n >= 0; n-- {
		errs = append(errs, i.closes[n]())
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// openInsides opens an image file, or the disk of a registered image or volume if no such file exists.
func openInsides(ctx context.Context, env *environment, opts insideOptions, name string) (*insides, error) {
	path := name
	if !exists(name) {
		registered, err := registeredDisk(env, opts.mount, name)
		if err != nil {
			return nil, inside(fmt.Errorf("%s: %w", name, err))
		}
		path, opts.image = registered, imageOptions{format: "raw"}
	}
	img, err := openImage(ctx, env, path, opts.image, opts.allow)
	if err != nil {
		return nil, inside(err)
	}
	in := &insides{name: name, format: img.Info().Format, closes: []func() error{img.Close}}
	loader := lazyload.New(lazyload.Config{CacheSize: 16 << 20, Workers: -1})
	open := loader.Open(img)
	in.closes = append(in.closes, loader.Close, func() error { open.Close(); return nil })
	in.layout, err = inspect.Open(ctx, wholeReads{open}, inspect.Options{NoReplay: opts.noReplay})
	if err != nil {
		return nil, errors.Join(inside(fmt.Errorf("%s: %w", name, err)), in.Close())
	}
	return in, nil
}

// registeredDisk returns the path of a registered image's or volume's disk.
func registeredDisk(env *environment, mount, name string) (string, error) {
	if name == "" || filepath.Base(name) != name || name == "." || name == ".." {
		return "", iofs.ErrNotExist
	}
	c, err := connect(env, mount)
	if err != nil {
		return "", fmt.Errorf("no such file, and no registered image: %w: %w", iofs.ErrNotExist, err)
	}
	for _, kind := range []string{"images", "volumes"} {
		if path := filepath.Join(c.root, kind, name, "disk"); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no such file, image or volume: %w", iofs.ErrNotExist)
}

// wholeReads is a disk as a source, whose reads are whole or fail.
type wholeReads struct{ *lazyload.Disk }

func (w wholeReads) ReadAt(ctx context.Context, p []byte, off int64) error {
	_, err := w.Disk.ReadAt(ctx, p, off)
	return err
}

// The exit codes of commands that look inside an image.
const (
	exitNotFound    = 3
	exitUnsupported = 4
	exitCorrupt     = 5
)

// insideError gives an error the exit code of its kind.
type insideError struct {
	err  error
	code int
}

func (e *insideError) Error() string { return e.err.Error() }
func (e *insideError) Unwrap() error { return e.err }

func inside(err error) error {
	code := exitFailure
	switch {
	case err == nil:
		return nil
	case errors.Is(err, iofs.ErrNotExist), errors.Is(err, inspect.ErrNoFileSystem), errors.Is(err, tree.ErrNotDir):
		code = exitNotFound
	case errors.Is(err, inspect.ErrAmbiguous):
		code = exitUsage
	case errors.Is(err, disk.ErrCorrupt):
		code = exitCorrupt
	case errors.Is(err, disk.ErrUnsupported):
		code = exitUnsupported
	}
	return &insideError{err, code}
}

// spot is a file of an open image.
type spot struct {
	*insides
	tree tree.Tree
	id   tree.ID
	attr tree.Attr
	path string
	name string // as the command line has it, for errors
}

// openSpot opens the image of an argument and finds the file.
func openSpot(ctx context.Context, env *environment, opts insideOptions, arg string, follow bool) (*spot, error) {
	p := parsePlace(arg, exists)
	in, err := openInsides(ctx, env, opts, p.image)
	if err != nil {
		return nil, err
	}
	s := &spot{insides: in, path: p.path, name: arg}
	files, err := in.layout.Files(ctx, p.slice)
	if err == nil {
		s.tree, s.id, err = files.Resolve(ctx, p.path, follow)
	}
	if err == nil {
		s.attr, err = s.tree.Stat(ctx, s.id)
	}
	if err != nil {
		return nil, errors.Join(inside(fmt.Errorf("%s: %w", p.image, err)), in.Close())
	}
	return s, nil
}

// insideCommand makes a command whose arguments are places, with the flags of all of them.
func insideCommand(env *environment, cmd *cobra.Command, do func(ctx context.Context, opts insideOptions, args []string) error) *cobra.Command {
	var opts insideOptions
	insideFlags(env, cmd, &opts)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return do(cmd.Context(), opts, args) }
	return cmd
}

func insideCommands(env *environment) []*cobra.Command {
	return []*cobra.Command{newInspect(env), newPartitions(env), newLsFiles(env), newCat(env), newCp(env), newFind(env),
		newDu(env), newDf(env), newTar(env), newHash(env), newDiff(env)}
}
