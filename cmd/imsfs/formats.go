package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
)

func newFormats(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "formats",
		Short: "List the formats and what can be done with them",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			return listFormats(env)
		},
	}
}

func listFormats(env *environment) error {
	out := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "FORMAT\tREAD\tWRITE\tCHECK")
	for _, name := range env.formats.Names() {
		driver, err := env.formats.Named(name)
		if err != nil {
			return err
		}
		_, writes := driver.(formats.Creator)
		_, checks := driver.(formats.Checker)
		fmt.Fprintf(out, "%s\tyes\t%s\t%s\n", name, yesNo(writes), yesNo(checks))
	}
	return out.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
