package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

func newDigest(env *environment) *cobra.Command {
	var opts imageOptions
	var allow []string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "digest FILE",
		Short: "Compute the digest of the disk in an image file",
		Long: `Compute the digest of the disk in an image file: the same for the same disk, whatever the format, and the same as the file
digest of an image that is complete in a store. docs/blockstore.md has the definition.`,
		Example: "  imsfs digest disk.zvhd2\n  test $(imsfs digest disk.raw) = $(cat /mnt/ims/images/web/digest)",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return digest(cmd.Context(), env, args[0], opts, allow, quiet)
		},
	}
	imageFlags(env, cmd, &opts, "FILE", "", "f")
	allowFlag(cmd, &allow)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func digest(ctx context.Context, env *environment, path string, opts imageOptions, allow []string, quiet bool) error {
	img, err := openImage(ctx, env, path, opts, allow)
	if err != nil {
		return err
	}
	defer img.Close()
	disk := plain{img}
	var report func(done int64)
	if env.terminal && !quiet {
		p := newProgress(env, "digest")
		defer p.end()
		report = func(done int64) { p.report(done, disk.Size()) }
	}
	d, err := blockstore.DigestPlain(ctx, disk, report)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = fmt.Fprintln(env.stdout, d)
	return err
}

// plain is an image as a digest sees it.
type plain struct{ formats.Image }

func (p plain) Size() int64 { return p.Info().Size }

func (p plain) Hole(ctx context.Context, off, n int64) (int64, error) {
	e, err := p.Extent(ctx, off, n)
	if err != nil || e.State == formats.Data {
		return 0, err
	}
	return e.Len, nil
}
