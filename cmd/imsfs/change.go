package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// whichHelp tells how images and volumes are told apart.
const whichHelp = "\n\nA NAME that an image and a volume have is the image's; volumes/NAME is the volume's."

func newRm(env *environment) *cobra.Command {
	return completedCommand(env, &cobra.Command{
		Use:   "rm NAME ...",
		Short: "Delete images or volumes",
		Long: `Delete an image from the store. Its source stays as it is, and whoever has the disk open can go on
reading it. Or delete a volume, with what was written to it, unless it is in use. A
NAME that an image and a volume have is refused: write images/NAME or volumes/NAME.`,
		Example: "  imsfs rm web\n  imsfs rm volumes/web-1 volumes/web-2",
		Args:    atLeast("NAME"),
	}, completeImages, func(c *client, args []string) error {
		return forEach(args, func(name string) error {
			dir, err := c.only(name)
			if err != nil {
				return err
			}
			return c.command(filepath.Join(dir, "ctl"), "delete")
		})
	})
}

func newMv(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "mv NAME NEWNAME",
		Short:   "Rename an image or a volume",
		Example: "  imsfs mv web web-2026-11",
		Args:    exactly("NAME", "NEWNAME"),
	}, func(c *client, args []string) error { return c.namedCommand(args[0], "rename", args[1]) })
}

func newSet(env *environment) *cobra.Command {
	return completedCommand(env, &cobra.Command{
		Use:   "set NAME KEY VALUE",
		Short: "Set an attribute of an image or a volume",
		Long: `Set an attribute of an image; an empty VALUE clears it. A key or value that is not known is refused with
what is. imsfs show NAME lists the attributes.`,
		Example: "  imsfs set web os_version 'Debian 12'\n  imsfs set web protected yes",
		Args:    exactly("NAME", "KEY", "VALUE"),
	}, completeSet, func(c *client, args []string) error { return c.namedCommand(args[0], "set", args[1], args[2]) })
}

// only returns the directory of the image or the volume of a name. A name that both have is refused,
// because a caller who means the other one would lose data.
func (c *client) only(name string) (string, error) {
	_, isVolume := c.volume(name, "")
	_, isImage := c.image(name, "")
	if isVolume == nil && isImage == nil {
		return "", fmt.Errorf("there are a volume and an image %q: say volumes/%s or images/%s", name, name, name)
	}
	return c.named(name, "")
}

// imageCommand gives an image one command.
func (c *client) imageCommand(name string, words ...string) error {
	ctl, err := c.image(name, "ctl")
	if err != nil {
		return err
	}
	return c.command(ctl, words...)
}

// named gives the path of one of the files of an image or a volume. A plain name is the image's, if there is one of that name, and else the
// volume's; images/NAME and volumes/NAME say which.
func (c *client) named(name, file string) (string, error) {
	if volume, ok := strings.CutPrefix(name, "volumes/"); ok {
		return c.volume(volume, file)
	}
	if image, ok := strings.CutPrefix(name, "images/"); ok {
		return c.image(image, file)
	}
	path, missing := c.image(name, file)
	if missing == nil {
		return path, nil
	}
	if path, err := c.volume(name, file); err == nil {
		return path, nil
	}
	return "", missing
}

// namedCommand gives an image or a volume one command.
func (c *client) namedCommand(name string, words ...string) error {
	ctl, err := c.named(name, "ctl")
	if err != nil {
		return err
	}
	return c.command(ctl, words...)
}
