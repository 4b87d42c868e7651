package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats/convert"
)

type compareOptions struct {
	a, b     imageOptions
	allow    []string
	strict   bool
	progress bool
}

func newCompare(env *environment) *cobra.Command {
	var opts compareOptions
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Tell whether two images hold the same disk",
		Long: `Tell whether two image files hold the same disk, whatever their formats. Where neither stores data nothing is read.

If one disk is longer and only zeros follow, they are equal. With --strict they are not, nor are disks that have data, zeros and
nothing in different places, even if they read the same.

Exit code 0: equal; 1: different; 2: could not be compared.`,
		Example: "  imsfs compare disk.zvhd2 disk.raw\n  imsfs compare -f raw -F raw a.img b.img",
		Args:    exactly("A", "B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return compare(cmd.Context(), env, opts, args[0], args[1])
		},
	}
	imageFlags(env, cmd, &opts.a, "A", "", "f")
	imageFlags(env, cmd, &opts.b, "B", "-b", "F")
	allowFlag(cmd, &opts.allow)
	cmd.Flags().BoolVar(&opts.strict, "strict", false, "disks of different sizes or allocation differ")
	cmd.Flags().BoolVarP(&opts.progress, "progress", "p", false, "show progress on stderr")
	return cmd
}

func compare(ctx context.Context, env *environment, opts compareOptions, pathA, pathB string) error {
	a, err := openImage(ctx, env, pathA, opts.a, opts.allow)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openImage(ctx, env, pathB, opts.b, opts.allow)
	if err != nil {
		return err
	}
	defer b.Close()

	sizeA, sizeB := a.Info().Size, b.Info().Size
	if sizeA != sizeB {
		fmt.Fprintf(env.stdout, "The sizes differ: %d and %d bytes.\n", sizeA, sizeB)
		if opts.strict {
			return verdict(exitDiffer)
		}
	}
	if opts.strict {
		off, err := convert.CompareStates(ctx, a, b)
		if err != nil {
			return fmt.Errorf("%s and %s: %w", pathA, pathB, err)
		}
		if off >= 0 {
			fmt.Fprintf(env.stdout, "The allocation differs, at offset %d (%#x) first.\n", off, off)
			return verdict(exitDiffer)
		}
	}
	off, err := compareContents(ctx, env, opts, a, b)
	switch {
	case err != nil:
		return fmt.Errorf("%s and %s: %w", pathA, pathB, err)
	case off >= 0:
		fmt.Fprintf(env.stdout, "The disks differ: the first different byte is at offset %d (%#x).\n", off, off)
		return verdict(exitDiffer)
	case sizeA != sizeB:
		fmt.Fprintln(env.stdout, "The disks are equal up to the end of the shorter one; the rest of the other is zeros.")
	default:
		fmt.Fprintln(env.stdout, "The disks are equal.")
	}
	return nil
}

func compareContents(ctx context.Context, env *environment, opts compareOptions, a, b *imageFile) (int64, error) {
	if !opts.progress {
		return convert.Compare(ctx, a, b, convert.Config{})
	}
	p := newProgress(env, "compare")
	defer p.end()
	return convert.Compare(ctx, a, b, convert.Config{Progress: p.report})
}
