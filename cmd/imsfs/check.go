package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
)

type checkOptions struct {
	format string
	allow  []string
	json   bool
}

func newCheck(env *environment) *cobra.Command {
	var opts checkOptions
	var system bool
	var place insideOptions
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Look through an image file for damage",
		Long: `Read a whole image file, with the files that it consists of but not its backing file, and list all that is wrong with
it. Nothing is repaired.

Exit code 0: no damage; 1: could not be checked; 2: damage; 3: space is lost, but no data;
63: the format has nothing to check.

With --os the operating system in FILE, a registered image or a volume is looked at instead: is it fit for import into a
cloud? Each line is a code, a result (pass, fail, warn, unknown) and the reason.
Exit code 0: no check fails; 1: one does; 3: there is no such image, or no operating system; 4: not supported; 5: damage.`,
		Example: "  imsfs check disk.zvhd2",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if system {
				place.image.format, place.allow = opts.format, opts.allow
				return checkSystem(cmd.Context(), env, place, args[0], opts.json)
			}
			return check(cmd.Context(), env, opts, args[0])
		},
	}
	formatFlag(env, cmd, &opts.format, "format", "f", "take FILE for this format instead of looking at its content")
	allowFlag(cmd, &opts.allow)
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&system, "os", false, "check the operating system inside for import into a cloud")
	return cmd
}

// checkReport is the JSON form: the keys of qemu-img check, where it has them.
type checkReport struct {
	Filename    string         `json:"filename"`
	Format      string         `json:"format"`
	CheckErrors int            `json:"check-errors"`
	Corruptions int            `json:"corruptions"`
	Leaks       int            `json:"leaks"`
	Problems    []checkProblem `json:"problems"`
}

type checkProblem struct {
	Offset int64  `json:"offset"`
	Leak   bool   `json:"leak"`
	Text   string `json:"text"`
}

func check(ctx context.Context, env *environment, opts checkOptions, path string) error {
	allow, err := absolutePaths(opts.allow)
	if err != nil {
		return err
	}
	src, err := chain.OpenSource(ctx, path, commandSources(allow))
	if err != nil {
		return err
	}
	defer src.Close()
	driver, err := env.formats.FindFile(ctx, src, opts.format, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	checker, ok := driver.(formats.Checker)
	if !ok {
		return fmt.Errorf("%s: %s: %w", path, driver.Name(), errNoChecks)
	}
	report := checkReport{Filename: path, Format: driver.Name(), Problems: []checkProblem{}}
	err = checker.Check(ctx, src, formats.OpenOptions{Files: src}, func(p formats.Problem) {
		report.count(p)
		if opts.json {
			report.Problems = append(report.Problems, checkProblem{p.Off, p.Leak, p.Text})
		} else {
			fmt.Fprintln(env.stdout, problemLine(p))
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := report.print(env, opts.json); err != nil {
		return err
	}
	return report.verdict()
}

func problemLine(p formats.Problem) string {
	kind := "damage"
	if p.Leak {
		kind = "leak"
	}
	return fmt.Sprintf("%s at %#x: %s", kind, p.Off, p.Text)
}

func (r *checkReport) count(p formats.Problem) {
	if p.Leak {
		r.Leaks++
	} else {
		r.Corruptions++
	}
}

func (r *checkReport) print(env *environment, json bool) error {
	if json {
		return env.writeJSON(r)
	}
	switch {
	case r.Corruptions > 0:
		fmt.Fprintf(env.stdout, "%s is damaged: problems: %d, leaks: %d.\n", r.Filename, r.Corruptions, r.Leaks)
	case r.Leaks > 0:
		fmt.Fprintf(env.stdout, "%s loses space but no data: leaks: %d.\n", r.Filename, r.Leaks)
	default:
		fmt.Fprintf(env.stdout, "%s is sound.\n", r.Filename)
	}
	return nil
}

func (r *checkReport) verdict() error {
	switch {
	case r.Corruptions > 0:
		return verdict(exitDamage)
	case r.Leaks > 0:
		return verdict(exitLeaks)
	}
	return nil
}
