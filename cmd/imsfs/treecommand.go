package main

import "github.com/spf13/cobra"

// treeCommand gives a command the flag by which the tree is named, and a client of it. A shell
// completes the command's first argument as an image.
func treeCommand(env *environment, cmd *cobra.Command, do func(c *client, args []string) error) *cobra.Command {
	return completedCommand(env, cmd, completeImage, do)
}

// completedCommand is a treeCommand whose arguments are completed in another way.
func completedCommand(env *environment, cmd *cobra.Command, words completer, do func(c *client, args []string) error) *cobra.Command {
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
		completeOnTree(env, cmd, &mount, words)
	}
	return cmd
}

// completeOnTree lets a shell complete the arguments of a command from what the tree has.
func completeOnTree(env *environment, cmd *cobra.Command, mount *string, words completer) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := connect(env, *mount)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(c, args)
	}
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
