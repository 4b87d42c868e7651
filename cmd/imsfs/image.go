package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
)

// imageOptions say how an image file is to be taken.
type imageOptions struct {
	format        string
	snapshot      string
	backing       string
	backingFormat string
	maps          bool // use the map beside a raw image
}

// imageFlags adds the flags for the image file that the command's help calls file. suffix tells the names of those for a
// second file.
func imageFlags(env *environment, cmd *cobra.Command, opts *imageOptions, file, suffix, short string) {
	formatFlag(env, cmd, &opts.format, "format"+suffix, short, "take "+file+" for this format instead of looking at its content")
	flags := cmd.Flags()
	flags.StringVar(&opts.snapshot, "snapshot"+suffix, "", "read the internal snapshot of this name or ID in "+file)
	flags.StringVar(&opts.backing, "backing"+suffix, "", "take this file for the backing file of "+file+", whatever it names")
	formatFlag(env, cmd, &opts.backingFormat, "backing-format"+suffix, "", "take the backing file of "+file+" for this format, whatever it names")
}

// allowFlag adds the flag for directories that images may name files in.
func allowFlag(cmd *cobra.Command, dirs *[]string) {
	cmd.Flags().StringArrayVar(dirs, "allow-backing-dir", nil, "follow names in images into this directory, too (can be repeated)")
	must(cmd.MarkFlagDirname("allow-backing-dir"))
}

// imageFile is an image opened from a file, with all that it is based on.
type imageFile struct {
	*chain.Chain
	path string
}

// openImage opens the image at path and its backing images; an empty format is told by the content.
func openImage(ctx context.Context, env *environment, path string, opts imageOptions, allow []string) (*imageFile, error) {
	return openChain(ctx, path, chain.Config{
		Formats:       env.formats,
		Format:        opts.format,
		Snapshot:      opts.snapshot,
		Backing:       opts.backing,
		BackingFormat: opts.backingFormat,
		Maps:          opts.maps,
	}, allow)
}

func openChain(ctx context.Context, path string, cfg chain.Config, allow []string) (*imageFile, error) {
	dirs, err := absolutePaths(allow)
	if err != nil {
		return nil, err
	}
	cfg.Sources = commandSources(dirs)
	c, err := chain.Open(ctx, path, cfg)
	if err != nil {
		return nil, err
	}
	return &imageFile{c, path}, nil
}

func absolutePaths(paths []string) ([]string, error) {
	var list []string
	for _, p := range paths {
		if p == "" {
			return nil, errors.New("--allow-backing-dir wants the path of a directory")
		}
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		list = append(list, abs)
	}
	return list, nil
}

// file is the image's own file.
func (f *imageFile) file() *chain.Source { return f.Sources()[0] }

// paths lists the files that the image is read from, its own in front.
func (f *imageFile) paths() []string {
	var list []string
	for _, file := range f.Files() {
		list = append(list, file.Path)
	}
	if f.path == standardStream {
		return list[1:] // what came by the stream has no path
	}
	return list
}

// formatFlag adds a flag that takes the name of a format.
func formatFlag(env *environment, cmd *cobra.Command, value *string, name, short, usage string) {
	cmd.Flags().VarP(&formatValue{env.formats, value}, name, short, usage)
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return env.formats.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // bug: the flag was added above
	}
}

// formatValue refuses names no driver has while flags are parsed.
type formatValue struct {
	set  formats.Set
	name *string
}

var _ pflag.Value = (*formatValue)(nil)

func (v *formatValue) Type() string   { return "FMT" }
func (v *formatValue) String() string { return *v.name }

func (v *formatValue) Set(name string) error {
	if _, err := v.set.Named(name); err != nil {
		return err
	}
	*v.name = name
	return nil
}
