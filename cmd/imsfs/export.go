package main

import (
	"errors"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
)

type exportOptions struct {
	to       string
	choices  []string
	level    int
	force    bool
	noVerify bool
	salvage  bool
	anyRoom  bool
	progress bool
}

func newExport(env *environment) *cobra.Command {
	var opts exportOptions
	cmd := &cobra.Command{
		Use:   "export NAME DEST -O FMT",
		Short: "Write the disk of an image or a volume to a file",
		Long: `Write the disk of an image to the file DEST in the format FMT, without what is empty. The daemon does it, as its own user:
from its store what that has, from the source what it has not.

DEST appears complete or not at all: the daemon writes it, reads it back and compares the digests unless --no-verify says
that it need not, and then gives it its name. A DEST that exists is only replaced
with --force. A daemon that ends meanwhile does not take the export up again.

Of a volume it writes what the disk has at this moment, also while it is in use. --salvage writes zeros for what cannot be read of a
damaged one, and its error file tells how much that is.

What a format leaves to choose is said by -o; -o help lists it.` + whichHelp + waitHelp,
		Example: "  imsfs export web web.qcow2 -O qcow2 -o compression_type=zstd -p\n  imsfs export web /srv/web.raw -O raw --no-wait",
		Args:    exactly("NAME", "DEST"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	formatFlag(env, cmd, &opts.to, "output-format", "O", "format of DEST (required)")
	choicesFlag(cmd, &opts.choices)
	flags := cmd.Flags()
	flags.IntVar(&opts.level, "level", 0, "compression level, in the format's own numbers; 0 is its usual one")
	flags.BoolVar(&opts.force, "force", false, "replace DEST if it exists")
	flags.BoolVar(&opts.noVerify, "no-verify", false, "do not read back what was written")
	flags.BoolVar(&opts.salvage, "salvage", false, "write zeros for what cannot be read of a volume")
	flags.BoolVar(&opts.anyRoom, "no-space-check", false, "begin even if the image's data do not fit DEST's file system")
	flags.BoolVarP(&opts.progress, "progress", "p", false, "show progress on stderr")
	noWait := noWaitFlag(cmd)
	cmd = treeCommand(env, cmd, func(c *client, args []string) error {
		line, err := opts.line(args[1])
		if err != nil {
			return err
		}
		if err := c.namedCommand(args[0], line...); err != nil || *noWait {
			return err
		}
		path, err := c.named(args[0], "job")
		if err != nil {
			return err
		}
		d := display{show: func(float64, string) {}, end: func(string) {}}
		if opts.progress {
			d = newDisplay(env, "export "+args[0])
		}
		return await(cmd.Context(), path, d)
	})
	onTree := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case args[1] == standardStream:
			return &usageError{cmd.CommandPath(), errors.New("export writes to a file, because the daemon does it; for a pipe use imsfs convert -O FMT MOUNTPOINT/images/NAME/disk -")}
		case opts.to == "":
			return &usageError{cmd.CommandPath(), errors.New("the format of DEST is missing: -O FMT")}
		case asksForChoices(opts.choices):
			return listChoices(env, opts.to)
		}
		return onTree(cmd, args)
	}
	return cmd
}

// line is the command for the daemon.
func (o *exportOptions) line(dest string) ([]string, error) {
	dest, err := filepath.Abs(dest)
	if err != nil {
		return nil, err
	}
	words := append([]string{"export", o.to, dest}, splitChoices(o.choices)...)
	if o.level != 0 {
		words = append(words, "level="+strconv.Itoa(o.level))
	}
	if o.force {
		words = append(words, "force=yes")
	}
	if o.salvage {
		words = append(words, "salvage=yes")
	}
	if o.noVerify {
		words = append(words, "verify=no")
	}
	if o.anyRoom {
		words = append(words, "space_check=no")
	}
	return words, nil
}
