package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/formats/rawmap"
	"github.com/imsfs/imsfs/lifecycle/output"
)

type mkmapOptions struct {
	image    imageOptions
	threads  int
	force    bool
	progress bool
}

func newMkmap(env *environment) *cobra.Command {
	var opts mkmapOptions
	cmd := &cobra.Command{
		Use:   "mkmap RAW",
		Short: "Write down which blocks of a raw disk hold data",
		Long: `Read the raw disk in the file RAW and write RAW.map, which says which of its blocks of 2 MiB hold
anything but zeros.

RAW.map is used when RAW is registered, and by info and map, as long as RAW has the size and the
modification time that it had. Then its zeros are never read, even where the file system knows no
holes. So copy both with a program that keeps times (cp -p, rsync -a), and make the map anew after
RAW was written to. docs/formats/rawmap.md has the layout and says when a map is trusted.`,
		Example: "  imsfs mkmap disk.raw && rsync -a --sparse disk.raw disk.raw.map elsewhere:",
		Args:    exactly("RAW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.threads < 0 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--threads %d: cannot be negative", opts.threads)}
			}
			return makeMap(cmd.Context(), env, opts, args[0])
		},
	}
	formatFlag(env, cmd, &opts.image.format, "format", "f", "raw takes RAW for a raw disk whatever its content looks like")
	cmd.Flags().IntVar(&opts.threads, "threads", 0, "blocks to look at at once; 0 is what suits the cores")
	cmd.Flags().BoolVar(&opts.force, "force", false, "replace RAW.map if it exists")
	cmd.Flags().BoolVarP(&opts.progress, "progress", "p", false, "show progress on stderr")
	return cmd
}

func makeMap(ctx context.Context, env *environment, opts mkmapOptions, path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file, and only a file has a time that shows when the map is out of date", path)
	}
	img, err := openImage(ctx, env, path, opts.image, nil)
	if err != nil {
		return err
	}
	defer img.Close()
	if format := img.Info().Format; format != "raw" {
		return fmt.Errorf("%s: is %s, and only raw disks have maps (-f raw takes it for one)", path, format)
	}
	dst, err := output.Create(path+rawmap.Suffix, img.paths(), opts.force)
	if errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%w (--force replaces it)", err)
	}
	if err != nil {
		return err
	}
	defer dst.Discard()
	m, err := lookThrough(ctx, env, opts, img)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := dst.WriteAt(m.Bytes(), 0); err != nil {
		return err
	}
	if err := dst.Commit(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s: data in %d of %d bytes\n", path+rawmap.Suffix, m.Data(), img.file().Size())
	return err
}

// tick is more than the steps in which file systems write down times.
const tick = 100 * time.Millisecond

// lookThrough makes the map of a raw disk.
func lookThrough(ctx context.Context, env *environment, opts mkmapOptions, img *imageFile) (*rawmap.Map, error) {
	id := img.file().Identity()
	m, err := rawmap.New(id.Size, id.ModTime)
	if err != nil {
		return nil, err
	}
	// A write that comes while the file's time is still the present would not show.
	select {
	case <-time.After(time.Unix(0, id.ModTime).Add(tick).Sub(env.now())):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	cfg := convert.Config{Workers: opts.threads}
	if opts.progress {
		p := newProgress(env, "mkmap")
		defer p.end()
		cfg.Progress = p.report
	}
	if err := convert.NonZero(ctx, img, rawmap.BlockSize, cfg, m.Set); err != nil {
		return nil, err
	}
	return m, img.Files()[0].Unchanged(ctx, commandSources(nil))
}
