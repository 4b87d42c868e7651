package main

import "github.com/spf13/cobra"

// treeCommand gives a command the flag by which the tree is named, and a client of it.
func treeCommand(env *environment, cmd *cobra.Command, do func(c *client, args []string) error) *cobra.Command {
	var mount string
	cmd.Flags().StringVar(&mount, "mount", "", "where the tree is mounted (else $"+mountVariable+", else the only one)")
	must(cmd.MarkFlagDirname("mount"))
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		c, err := connect(env, mount)
		if err != nil {
			return err
		}
		return do(c, args)
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			c, err := connect(env, mount)
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, _ := c.names()
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

func completeDirectories(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// must is for calls that fail only by a mistake in this package.
func must(err error) {
	if err != nil {
		panic(err) // bug: a flag named here does not exist
	}
}
