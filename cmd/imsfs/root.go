package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// run does what the command line says and returns the exit code.
func run(ctx context.Context, env *environment, args []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var v verdict
	var several failures
	switch {
	case err == nil, errors.As(err, &v):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(env.stderr, "imsfs: interrupted")
	case errors.As(err, &several):
		for _, each := range several {
			fmt.Fprintf(env.stderr, "imsfs: %s\n", oneLine(each))
		}
	default:
		fmt.Fprintf(env.stderr, "imsfs: %s\n", oneLine(err))
	}
	return exitCode(cmd.Name(), err)
}

// oneLine keeps an error on its line, whatever a library or a file name put into it.
func oneLine(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
}

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "imsfs",
		Short: "Disk images as raw disks",
		Long: `imsfs turns disk images into raw disks.

serve mounts the tree of a store's images; the commands beside it work on a tree that is mounted.
The other commands work on image files, without a daemon: FILE is opened for reading only, and its format is told
by its content unless -f names it.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	onlySubcommands(root)
	root.SetVersionTemplate("imsfs {{.Version}}\n")
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), err} })
	group(root, "Images in a mounted tree:",
		newServe(env),
		newRegister(env),
		newLs(env),
		newShow(env),
		newSet(env),
		newTag(env),
		newMv(env),
		newRm(env),
		newPrefetch(env),
		newHydrate(env),
		newEvict(env),
		newRefresh(env),
		newVerify(env),
		newExport(env),
		newCancel(env),
		newStore(env),
	)
	group(root, "Writable disks in a mounted tree:",
		newClone(env),
		newCreate(env),
		newVolumes(env),
		newCommit(env),
		newSnapshot(env),
		newRevert(env),
		newResize(env),
		newRun(env),
	)
	group(root, "Image files, without a daemon:",
		newInfo(env),
		newMap(env),
		newCheck(env),
		newCompare(env),
		newConvert(env),
		newMkmap(env),
		newDigest(env),
		newOpen(env),
	)
	group(root, "Inside an image, without mounting it:", insideCommands(env)...)
	root.AddCommand(
		newFormats(env),
		newVersion(env),
		newCtlHelp(env),
		&cobra.Command{Use: "exit-codes", Short: "What exit codes say", Long: exitCodesHelp},
	)
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.HasSubCommands() {
			onlySubcommands(cmd)
		}
	}
	return root
}

// group adds commands that help lists together.
func group(root *cobra.Command, title string, cmds ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, cmd := range cmds {
		cmd.GroupID = title
	}
	root.AddCommand(cmds...)
}
