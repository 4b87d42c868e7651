package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// synonyms are words of other programs for commands of this one.
var synonyms = map[string]string{
	"rename": "mv", "move": "mv",
	"delete": "rm", "remove": "rm", "unregister": "rm",
	"list": "ls", "images": "ls",
	"import": "register", "add": "register",
	"status": "show", "stat": "show",
	"label": "tag", "untag": "tag -d",
	"mount": "serve or open", "start": "serve",
	"umount": `the command "umount MOUNTPOINT"`, "unmount": `the command "umount MOUNTPOINT"`, "stop": `the command "umount MOUNTPOINT"`,
	"gc": "store sweep", "prune": "store sweep", "sweep": "store sweep",
	"compact": "store compact", "rebuild": "store rebuild", "stats": "store stats",
	"pull": "hydrate", "load": "hydrate", "drop": "evict",
	"rollback": "revert", "boot": "run", "ctl": "help ctl",
}

// unknownCommand returns the error for a word that is not a command of parent.
func unknownCommand(parent *cobra.Command, name string) error {
	hint := ""
	if near := suggestions(parent, name); len(near) > 0 {
		hint = ", perhaps " + strings.Join(near, " or ")
	}
	return &usageError{parent.CommandPath(), fmt.Errorf("unknown command %q%s", name, hint)}
}

// suggestions returns what a user may have meant. Nearness of letters never leads to rm, which
// deletes.
func suggestions(parent *cobra.Command, name string) []string {
	word, ok := synonyms[name]
	if ok && !parent.HasParent() {
		return []string{word}
	}
	if last, found := strings.CutPrefix(word, parent.Name()+" "); found {
		return []string{last}
	}
	return slices.DeleteFunc(parent.SuggestionsFor(name), func(n string) bool {
		return n == "rm" || len(name) < 4 && n[0] != name[0] // most short words are near to each other
	})
}

// onlySubcommands makes a command that has subcommands print its help, and refuse a word that is
// none of them.
func onlySubcommands(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// newHelp returns the command help, which refuses words that are not commands.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND ...]",
		Short: "Help about a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			at, rest, err := cmd.Root().Find(args)
			var names []string
			if err == nil && len(rest) == 0 {
				for _, sub := range at.Commands() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(at, rest[0])
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}
