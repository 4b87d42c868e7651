package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

// imageFile is an image opened from a file.
type imageFile struct {
	formats.Image
	src  *source.File
	path string
}

// openImage opens the image at path; an empty format is told by the content.
func openImage(ctx context.Context, env *environment, path, format string) (*imageFile, error) {
	src, err := source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	img, err := env.formats.Open(ctx, src, format, formats.OpenOptions{})
	if err != nil {
		src.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &imageFile{img, src, path}, nil
}

// Close gives the file back.
func (f *imageFile) Close() error { return f.src.Close() }

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
