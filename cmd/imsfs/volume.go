package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// volume gives the path of one of a volume's files.
func (c *client) volume(name, file string) (string, error) {
	dir := filepath.Join(c.root, "volumes", name)
	missing := fmt.Errorf("there is no volume %q", name)
	if filepath.Base(dir) != name || name == "" || name == "." || name == ".." {
		return "", missing
	}
	if _, err := os.Stat(dir); errors.Is(err, iofs.ErrNotExist) {
		return "", missing
	} else if err != nil {
		return "", err
	}
	return filepath.Join(dir, file), nil
}

// volumeCommand gives a volume one command.
func (c *client) volumeCommand(name string, words ...string) error {
	ctl, err := c.volume(name, "ctl")
	if err != nil {
		return err
	}
	return c.command(ctl, words...)
}

func newClone(env *environment) *cobra.Command {
	var size byteSize
	cmd := &cobra.Command{
		Use:   "clone IMAGE VOLUME",
		Short: "Make a writable disk that begins as an image is",
		Long: `Make a volume: a writable disk that begins as the image is. It is there at once, and takes space for what is written to it
only. The image may be deleted.`,
		Example: "  imsfs clone web web-1\n  imsfs clone web web-1 --size 40GiB",
		Args:    exactly("IMAGE", "VOLUME"),
	}
	cmd.Flags().Var(&size, "size", "size of the disk, at least the image's (0: as large as the image)")
	return treeCommand(env, cmd, func(c *client, args []string) error {
		words := []string{"clone", args[1]}
		if size != 0 {
			words = append(words, "size="+strconv.FormatInt(int64(size), 10))
		}
		return c.imageCommand(args[0], words...)
	})
}

func newCreate(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "create VOLUME SIZE",
		Short:   "Make an empty writable disk",
		Example: "  imsfs create fresh 20GiB",
		Args:    exactly("VOLUME", "SIZE"),
	}, func(c *client, args []string) error {
		var size byteSize
		if err := size.Set(args[1]); err != nil {
			return err
		}
		return c.command(c.store("ctl"), "create", args[0], "size="+strconv.FormatInt(int64(size), 10))
	})
}

func newVolumes(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "volumes",
		Short:   "List the volumes",
		Example: "  imsfs volumes",
		Args:    exactly(),
	}, func(c *client, _ []string) error {
		entries, err := os.ReadDir(c.store("volumes"))
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tSTATE\tSIZE\tWRITTEN\tIMAGE")
		for _, e := range entries {
			status, err := readStatus(filepath.Join(c.store("volumes"), e.Name(), "status"))
			if errors.Is(err, iofs.ErrNotExist) {
				continue // deleted since
			}
			if err != nil {
				return err
			}
			of := map[string]string{}
			for _, p := range status {
				of[p.key] = p.value
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Name(), of["state"], readable(of["size"]), readable(of["written"]), of["image"])
		}
		return w.Flush()
	})
}

// readable is a number of bytes for people.
func readable(bytes string) string {
	n, err := strconv.ParseUint(bytes, 10, 64)
	if err != nil {
		return bytes
	}
	return humanize.IBytes(n)
}

func newCommit(env *environment) *cobra.Command {
	return newCommitment(env, "commit", &cobra.Command{
		Short: "Make an image of what a volume has",
		Long: `Make an image of what a volume has at this moment; the volume goes on, also if it is in use, and rests on that image from
then on. What a virtual machine has not flushed is not in it.`,
		Example: "  imsfs commit web-1 web-2026-11 os_version='Debian 12'",
	})
}

func newSnapshot(env *environment) *cobra.Command {
	return newCommitment(env, "snapshot", &cobra.Command{
		Short: "Make an image of what a volume has, and leave the volume what it is",
		Long: `Make an image of what a volume has at this moment; the volume goes on, also if it is in use, and imsfs revert goes back to
where it went back to before. What a virtual machine has not flushed is not in the image.`,
		Example: "  imsfs snapshot web-1 web-before-upgrade",
	})
}

func newCommitment(env *environment, verb string, cmd *cobra.Command) *cobra.Command {
	cmd.Use = verb + " VOLUME IMAGE [KEY=VALUE ...]"
	cmd.Long += waitHelp
	cmd.Args = atLeast("VOLUME", "IMAGE")
	var quiesce bool
	cmd.Flags().BoolVar(&quiesce, "quiesce", false, "refuse it while somebody has the disk open for writing")
	noWait := noWaitFlag(cmd)
	return treeCommand(env, cmd, func(c *client, args []string) error {
		words := append([]string{verb}, args[1:]...)
		if quiesce {
			words = append(words, "quiesce=yes")
		}
		if err := c.volumeCommand(args[0], words...); err != nil || *noWait {
			return err
		}
		path, err := c.volume(args[0], "job")
		if err != nil {
			return err
		}
		return await(cmd.Context(), path, newDisplay(env, verb+" "+args[0]))
	})
}

func newRevert(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "revert VOLUME",
		Short:   "Drop all that was written to a volume",
		Long:    "Drop all that was written to a volume since it was cloned, or committed. It must not be in use.",
		Example: "  imsfs revert web-1",
		Args:    exactly("VOLUME"),
	}, func(c *client, args []string) error { return c.volumeCommand(args[0], "revert") })
}

func newResize(env *environment) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "resize VOLUME SIZE",
		Short:   "Make a volume larger, or smaller",
		Long:    "Make a volume's disk larger, also while it is in use; or, with --force, smaller: what is behind the new end is lost.",
		Example: "  imsfs resize web-1 40GiB",
		Args:    exactly("VOLUME", "SIZE"),
	}
	cmd.Flags().BoolVar(&force, "force", false, "make it smaller, too")
	return treeCommand(env, cmd, func(c *client, args []string) error {
		var size byteSize
		if err := size.Set(args[1]); err != nil {
			return err
		}
		words := []string{"resize", strconv.FormatInt(int64(size), 10)}
		if force {
			words = append(words, "force")
		}
		return c.volumeCommand(args[0], words...)
	})
}
