package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/inspect"
)

// checkSystem prints the findings about the operating systems in an image, a line each.
func checkSystem(ctx context.Context, env *environment, opts insideOptions, name string, asJSON bool) error {
	in, err := openInsides(ctx, env, opts, name)
	if err != nil {
		return err
	}
	defer in.Close()
	list, err := in.layout.Checks(ctx, today(env))
	if errors.Is(err, inspect.ErrNoSystem) {
		return &insideError{fmt.Errorf("%s: %w", name, err), exitNotFound}
	}
	if err != nil {
		return inside(fmt.Errorf("%s: %w", name, err))
	}
	failed := false
	for _, s := range list {
		failed = failed || s.Failed()
	}
	if asJSON {
		err = env.writeJSON(list)
	} else {
		printFindings(env, list)
	}
	if err == nil && failed {
		return verdict(exitFailure)
	}
	return err
}

func printFindings(env *environment, list []inspect.SystemChecks) {
	for _, s := range list {
		for _, f := range s.Checks {
			line := fmt.Sprintf("%s %s %s", f.Code, f.Result, escape(f.Text))
			for _, e := range f.Evidence[:min(len(f.Evidence), 4)] {
				place := escape(e.Path)
				if e.Line > 0 {
					place = fmt.Sprintf("%s:%d", place, e.Line)
				}
				line += fmt.Sprintf(" [%s %s]", place, escape(e.Value))
			}
			if len(list) > 1 {
				line = s.Root + " " + line
			}
			fmt.Fprintln(env.stdout, line)
		}
	}
}
