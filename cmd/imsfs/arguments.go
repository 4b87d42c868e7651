package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// exactly accepts one argument for each of the names.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), len(names), names...) }

// atLeast accepts an argument for each of the names, and more.
func atLeast(names ...string) cobra.PositionalArgs { return between(len(names), -1, names...) }

// between accepts from least to most arguments; most is -1 for any number. The names are those that
// an error lists.
func between(least, most int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return &usageError{cmd.CommandPath(), fmt.Errorf("%s wants %s: %d given", cmd.Name(), wanted(names), len(args))}
	}
}

func wanted(names []string) string {
	if len(names) == 0 {
		return "no argument"
	}
	return strings.Join(names, " and ")
}
