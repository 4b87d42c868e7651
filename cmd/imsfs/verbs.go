package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// newCtlHelp returns the help topic about the lines that control files take.
func newCtlHelp(env *environment) *cobra.Command {
	topic := &cobra.Command{
		Use:   "ctl",
		Short: "The verbs of the files ctl",
		Long:  "The verbs that the files ctl of a mounted tree take, with their arguments and options.",
	}
	topic.SetHelpFunc(func(*cobra.Command, []string) { describeVerbs(env.stdout) })
	return topic
}

func describeVerbs(w io.Writer) {
	fmt.Fprintln(w, "A command is one line, written to a file ctl: echo 'hydrate' > images/web/ctl")
	for _, table := range []struct {
		file  string
		verbs []command.Spec
		set   []command.Option // the attributes that the verb set takes
	}{
		{"ctl (the store)", lifecycle.StoreVerbs(), nil},
		{"images/NAME/ctl", lifecycle.ImageVerbs(), lifecycle.Attributes()},
		{"volumes/NAME/ctl", lifecycle.VolumeVerbs(), lifecycle.VolumeAttributes()},
	} {
		fmt.Fprintf(w, "\n%s:\n", table.file)
		for _, v := range table.verbs {
			describeVerb(w, v)
			if v.Name == "set" {
				describeOptions(w, "KEY is one of:", table.set)
			}
		}
	}
}

func describeVerb(w io.Writer, v command.Spec) {
	job := ""
	if v.Job {
		job = " (a job)"
	}
	fmt.Fprintf(w, "\n  %s\n      %s%s\n", v.Usage(), v.Help, job)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer out.Flush()
	for _, a := range v.Args {
		fmt.Fprintf(out, "      %s\t%s\n", a.Key, explain(a))
	}
	for _, o := range v.Options {
		fmt.Fprintf(out, "      %s=\t%s\n", o.Key, explain(o))
	}
	if v.Others != "" {
		fmt.Fprintf(out, "      KEY=\t%s\n", v.Others)
	}
}

// describeOptions lists options below a title.
func describeOptions(w io.Writer, title string, options []command.Option) {
	fmt.Fprintf(w, "      %s\n", title)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer out.Flush()
	for _, o := range options {
		fmt.Fprintf(out, "        %s\t%s\n", o.Key, explain(o))
	}
}

// explain returns what an argument or option means, and what it may be.
func explain(o command.Option) string {
	if o.Rule == nil {
		return o.Help
	}
	return o.Help + ": " + o.Rule.Words()
}
