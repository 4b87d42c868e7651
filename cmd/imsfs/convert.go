package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/lifecycle/output"
)

type convertOptions struct {
	from     imageOptions
	allow    []string
	to       string
	choices  []string
	level    int
	threads  int
	force    bool
	progress bool
	sha256   bool
	anyRoom  bool
}

func newConvert(env *environment) *cobra.Command {
	var opts convertOptions
	cmd := &cobra.Command{
		Use:   "convert -O FMT SRC DST",
		Short: "Write the disk in an image file in another format",
		Long: `Write the disk in the image file SRC to the file DST in the format FMT. Empty parts are left out.
Data of SRC's backing files is written too: DST has none.

DST appears complete or not at all: it gets its name when it is safely on disk. An existing DST is
only replaced with --force.

SRC - is standard input, in any format; it is kept in a file without a name, in TMPDIR or beside DST.
DST - is standard output, for raw only; zeros are written out.

A block device as DST takes raw only, and needs --force because its content is overwritten. It must
be large enough and not in use.

A disk with logical sectors of 4096 bytes, which a VHDX can have, is written as VHDX, which keeps
them, or with a warning as raw or qcow2. Other formats are refused: their sectors have 512 bytes, and
the guest would find no partitions.

Options of a format are given by -o; convert -O FMT -o help lists them.

The same SRC gives the same bytes. If the format records a time of creation, it is that of -o
timestamp=, of the environment variable SOURCE_DATE_EPOCH (seconds since 1970), or SRC's modification
time. If it records a UUID, it is that of -o uuid=, or made from SRC's name, the sizes and that time.
So with SOURCE_DATE_EPOCH set, a copy of SRC of the same name gives the same bytes as well. A VMDK
also records DST's name.`,
		Example: `  imsfs convert -O zvhd2 disk.raw disk.zvhd2 -p
  imsfs convert -O raw disk.zvhd2 disk.raw
  imsfs convert -O qcow2 -o compression_type=zstd,cluster_size=128k disk.vmdk disk.qcow2
  imsfs convert -O vhd -o help
  curl -s https://example.com/disk.qcow2 | imsfs convert -O raw - /dev/shm/disk.raw
  SOURCE_DATE_EPOCH=0 imsfs convert -f raw -O zvhd2 --level 9 disk.img disk.zvhd2`,
		Args: func(cmd *cobra.Command, args []string) error {
			if asksForChoices(opts.choices) {
				return nil
			}
			return exactly("SRC", "DST")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.validate(); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			if asksForChoices(opts.choices) {
				return listChoices(env, opts.to)
			}
			return convertFile(cmd.Context(), env, opts, args[0], args[1])
		},
	}
	imageFlags(env, cmd, &opts.from, "SRC", "", "f")
	allowFlag(cmd, &opts.allow)
	formatFlag(env, cmd, &opts.to, "output-format", "O", "format of DST (required)")
	choicesFlag(cmd, &opts.choices)
	cmd.Flags().IntVar(&opts.level, "level", 0, "compression level, in the format's own numbers; 0 is its usual one")
	cmd.Flags().IntVar(&opts.threads, "threads", 0, "pieces of the disk to work on at once; 0 is what suits the cores")
	cmd.Flags().BoolVar(&opts.force, "force", false, "replace DST if it exists")
	cmd.Flags().BoolVarP(&opts.progress, "progress", "p", false, "show progress on stderr")
	cmd.Flags().BoolVar(&opts.sha256, "sha256", false, "print the SHA-256 of the file written, as sha256sum does")
	cmd.Flags().BoolVar(&opts.anyRoom, "no-space-check", false, "begin even if SRC's data do not fit DST's file system")
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
	img, err := openSource(ctx, env, opts, srcPath, dstPath)
	if err != nil {
		return err
	}
	defer img.Close()
	if isStandardOutput(dstPath) {
		return convertToStream(ctx, env, opts, img)
	}
	if isBlockDevice(dstPath) {
		return convertToDevice(ctx, env, opts, img, dstPath)
	}
	enc, err := newEncoder(env, opts.to, opts.level, opts.choices, img, dstPath)
	if err != nil {
		return fmt.Errorf("%s: %w", dstPath, err)
	}
	if err := warnOfSectors(env, opts.to, img); err != nil {
		return err
	}
	dst, err := output.Create(dstPath, img.paths(), opts.force)
	if errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%w (--force replaces it)", err)
	}
	if err != nil {
		return err
	}
	defer dst.Discard()
	sum, err := convertTo(ctx, env, opts, img, enc, dst)
	if err != nil {
		return fmt.Errorf("%s: converting to %s: %w", srcPath, dstPath, explainFull(err))
	}
	if err := dst.Commit(); err != nil {
		return explainFull(err)
	}
	if opts.sha256 {
		fmt.Fprintf(env.stdout, "%x  %s\n", sum, dstPath)
	}
	return nil
}

// convertTo returns the file's digest, if that is wanted.
func convertTo(ctx context.Context, env *environment, opts convertOptions, img *imageFile, enc formats.Encoder, dst *output.File) ([]byte, error) {
	if !opts.anyRoom {
		if err := dst.CheckRoom(ctx, img, enc); err != nil {
			return nil, err
		}
	}
	cfg, end := opts.config(env)
	defer end()
	if err := convert.Run(ctx, img, enc, dst, cfg); err != nil || !opts.sha256 {
		return nil, err
	}
	return fileDigest(ctx, dst.File)
}

// config is followed by a call of end.
func (o *convertOptions) config(env *environment) (cfg convert.Config, end func()) {
	cfg.Workers = o.threads
	if !o.progress {
		return cfg, func() {}
	}
	p := newProgress(env, "convert")
	cfg.Progress = p.report
	return cfg, p.end
}
