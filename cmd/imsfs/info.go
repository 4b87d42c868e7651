package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
)

type infoOptions struct {
	image    imageOptions
	allow    []string
	chain    bool
	walkData bool
	json     bool
}

func newInfo(env *environment) *cobra.Command {
	var opts infoOptions
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Show the format and the facts of an image file",
		Long: `Show format, sizes and the format's own facts of an image file. Its backing file is named but not
opened, unless --backing-chain is given.

disk size is the space that its files take, data the part of the disk that is stored in it. If only a
walk through all tables could tell the latter, it is left out, unless --data is given.`,
		Example: "  imsfs info disk.zvhd2\n  imsfs info --json disk.zvhd2 | jq '.\"virtual-size\"'\n  imsfs info --backing-chain overlay.qcow2",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.validate(); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return info(cmd.Context(), env, opts, args[0])
		},
	}
	imageFlags(env, cmd, &opts.image, "FILE", "", "f")
	allowFlag(cmd, &opts.allow)
	cmd.Flags().BoolVar(&opts.chain, "backing-chain", false, "show all backing files, too")
	cmd.Flags().BoolVar(&opts.walkData, "data", false, "count the stored part of the disk, however long that takes")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func (o *infoOptions) validate() error {
	if !o.chain && (o.image.backing != "" || o.image.backingFormat != "") {
		return errors.New("--backing and --backing-format are for --backing-chain: without it no backing file is opened")
	}
	return nil
}

func info(ctx context.Context, env *environment, opts infoOptions, path string) error {
	img, err := openChain(ctx, path, chain.Config{
		Formats:       env.formats,
		Format:        opts.image.format,
		Snapshot:      opts.image.snapshot,
		Alone:         !opts.chain,
		Maps:          true,
		Backing:       opts.image.backing,
		BackingFormat: opts.image.backingFormat,
	}, opts.allow)
	if err != nil {
		return err
	}
	defer img.Close()
	facts, err := img.facts(ctx, opts.walkData)
	if err != nil {
		return err
	}
	if opts.json {
		return writeFactsJSON(env, facts, opts.chain)
	}
	for i, f := range facts {
		if i > 0 {
			fmt.Fprintln(env.stdout)
		}
		f.describe(env.stdout)
	}
	return nil
}

// facts are those of one layer.
type facts struct {
	formats.Info
	path       string
	diskSize   int64
	backing    string // the backing file's path; "" if there is none or it is not followed
	unfollowed error  // why
}

// facts are those of all layers that are open. If walk is set, data is counted where it is not
// known.
func (f *imageFile) facts(ctx context.Context, walk bool) ([]facts, error) {
	var list []facts
	sources := f.Sources()
	for i, layer := range f.Layers() {
		known := facts{Info: layer.Info(), path: sources[i].Path()}
		known.diskSize = space(sources[i].Files())
		if walk && known.Allocated == formats.Unknown {
			var err error
			if known.Allocated, err = formats.DataBytes(ctx, layer); err != nil {
				return nil, fmt.Errorf("%s: %w", known.path, err)
			}
		}
		switch b := known.Backing; {
		case b == nil:
		case i+1 < len(sources):
			known.backing = sources[i+1].Path()
		default:
			known.backing, known.unfollowed = locate(ctx, sources[i], b.Paths)
		}
		list = append(list, known)
	}
	return list, nil
}

// space is how much the files take. An image may name one file several times, and even its own.
func space(files []chain.File) (n int64) {
	for i, f := range files {
		if !slices.ContainsFunc(files[:i], func(before chain.File) bool { return before.Identity == f.Identity }) {
			n += f.Space
		}
	}
	return n
}

// locate finds the first name that may be followed and is there; the error is that of the first
// name.
func locate(ctx context.Context, src *chain.Source, names []string) (path string, err error) {
	for _, name := range names {
		path, failed := src.Locate(ctx, name)
		if failed == nil {
			return path, nil
		}
		if err == nil {
			err = failed
		}
	}
	return "", err
}
