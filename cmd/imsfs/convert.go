package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/output"
)

type convertOptions struct {
	from     imageOptions
	allow    []string
	to       string
	level    int
	threads  int
	force    bool
	progress bool
}

func newConvert(env *environment) *cobra.Command {
	var opts convertOptions
	cmd := &cobra.Command{
		Use:   "convert -O FMT SRC DST",
		Short: "Write the disk in an image file in another format",
		Long: `Write the disk in the image file SRC to DST in the format FMT, without what is empty. What SRC has from backing files
is written, too: DST has none.

DST appears complete or not at all: it is written under another name in its directory, which an error or an interrupt
removes, and renamed at the end, when it is safely on disk. A DST that exists is only replaced with --force.

The same SRC gives the same bytes. Where a format records a time of creation, it is SRC's modification time, or that in
the environment variable SOURCE_DATE_EPOCH (seconds since 1970); where it records a UUID, one made from SRC's name, the
sizes and that time. So with SOURCE_DATE_EPOCH set, a copy of SRC of the same name gives the same bytes as well.`,
		Example: `  imsfs convert -O zvhd2 disk.raw disk.zvhd2 -p
  imsfs convert -O raw disk.zvhd2 disk.raw
  SOURCE_DATE_EPOCH=0 imsfs convert -f raw -O zvhd2 --level 9 disk.img disk.zvhd2`,
		Args: exactly("SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.validate(); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return convertFile(cmd.Context(), env, opts, args[0], args[1])
		},
	}
	imageFlags(env, cmd, &opts.from, "SRC", "", "f")
	allowFlag(cmd, &opts.allow)
	formatFlag(env, cmd, &opts.to, "output-format", "O", "format of DST (required)")
	cmd.Flags().IntVar(&opts.level, "level", 0, "compression level, in the format's own numbers; 0 is its usual one")
	cmd.Flags().IntVar(&opts.threads, "threads", 0, "pieces of the disk to work on at once; 0 is what suits the cores")
	cmd.Flags().BoolVar(&opts.force, "force", false, "replace DST if it exists")
	cmd.Flags().BoolVarP(&opts.progress, "progress", "p", false, "show progress on stderr")
	return cmd
}

func (o *convertOptions) validate() error {
	switch {
	case o.to == "":
		return fmt.Errorf("the format of DST is missing: -O FMT")
	case o.threads < 0:
		return fmt.Errorf("--threads %d: cannot be negative", o.threads)
	case o.level < 0:
		return fmt.Errorf("--level %d: cannot be negative", o.level)
	}
	return nil
}

func convertFile(ctx context.Context, env *environment, opts convertOptions, srcPath, dstPath string) error {
	img, err := openImage(ctx, env, srcPath, opts.from, opts.allow)
	if err != nil {
		return err
	}
	defer img.Close()
	enc, err := newEncoder(env, opts, img)
	if err != nil {
		return fmt.Errorf("%s: %w", dstPath, err)
	}
	dst, err := output.Create(dstPath, img.paths(), opts.force)
	if errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%w (--force replaces it)", err)
	}
	if err != nil {
		return err
	}
	defer dst.Discard()
	if err := convertTo(ctx, env, opts, img, enc, dst); err != nil {
		return fmt.Errorf("%s: converting to %s: %w", srcPath, dstPath, err)
	}
	return dst.Commit()
}

func newEncoder(env *environment, opts convertOptions, img *imageFile) (formats.Encoder, error) {
	driver, err := env.formats.Named(opts.to)
	if err != nil {
		return nil, err
	}
	creator, ok := driver.(formats.Creator)
	if !ok {
		return nil, fmt.Errorf("%s: imsfs reads this format but does not write it", opts.to)
	}
	created, err := creationTime(env, img)
	if err != nil {
		return nil, err
	}
	return creator.Create(img.Info().Size, formats.CreateOptions{
		Level:     opts.level,
		Timestamp: created,
		UUID:      derivedUUID(img, created),
	})
}

func convertTo(ctx context.Context, env *environment, opts convertOptions, img *imageFile, enc formats.Encoder, dst formats.Target) error {
	cfg := convert.Config{Workers: opts.threads}
	if opts.progress {
		p := newProgress(env, "convert")
		defer p.end()
		cfg.Progress = p.report
	}
	return convert.Run(ctx, img, enc, dst, cfg)
}

// creationTime is in seconds since 1970. The present is no input of the conversion, so it is not recorded.
func creationTime(env *environment, img *imageFile) (int64, error) {
	const name = "SOURCE_DATE_EPOCH"
	value := env.getenv(name)
	if value == "" {
		return img.file().Identity().ModTime / int64(time.Second), nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return 0, fmt.Errorf("the environment's %s=%q is not a number of seconds", name, value)
	}
	return seconds, nil
}

// derivedUUID is a version 8 UUID (RFC 9562) that depends on what is known before the content is read.
func derivedUUID(img *imageFile, created int64) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "imsfs\x00%s\x00%d\x00%d\x00%d", filepath.Base(img.path), img.file().Size(), img.Info().Size, created))
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
