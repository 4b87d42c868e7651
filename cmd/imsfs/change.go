package main

import "github.com/spf13/cobra"

func newRm(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:   "rm NAME",
		Short: "Delete an image",
		Long: `Delete an image from the store. Its source stays as it is, and whoever has the disk open can go on
reading it.`,
		Example: "  imsfs rm web",
		Args:    exactly("NAME"),
	}, func(c *client, args []string) error { return c.imageCommand(args[0], "delete") })
}

func newMv(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "mv NAME NEWNAME",
		Short:   "Rename an image",
		Example: "  imsfs mv web web-2026-11",
		Args:    exactly("NAME", "NEWNAME"),
	}, func(c *client, args []string) error { return c.imageCommand(args[0], "rename", args[1]) })
}

func newSet(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:   "set NAME KEY VALUE",
		Short: "Set an attribute of an image",
		Long: `Set an attribute of an image; an empty VALUE clears it. A key or value that is not known is refused with
what is. imsfs show NAME lists the attributes.`,
		Example: "  imsfs set web os_version 'Debian 12'\n  imsfs set web protected yes",
		Args:    exactly("NAME", "KEY", "VALUE"),
	}, func(c *client, args []string) error { return c.imageCommand(args[0], "set", args[1], args[2]) })
}

// imageCommand gives an image one command.
func (c *client) imageCommand(name string, words ...string) error {
	ctl, err := c.image(name, "ctl")
	if err != nil {
		return err
	}
	return c.command(ctl, words...)
}
