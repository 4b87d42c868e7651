package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRegister(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register NAME SOURCE [KEY=VALUE …]",
		Short: "Register an image and print the path of its disk",
		Long: `Register an image under a name. From then on its disk is in the tree, and its path is printed.

SOURCE is an image file; it is opened and checked at once, read when the disk is read, and never written to.
format=FMT names the format instead of telling it by the content; the other keys are the image's attributes:
see imsfs set.`,
		Example: `  imsfs register web /srv/images/web.zvhd2
  imsfs register web web.zvhd2 os=linux os_version="Debian 12" min_ram=512`,
		Args: atLeast("NAME", "SOURCE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	return treeCommand(env, cmd, func(c *client, args []string) error {
		source, err := absolute(args[1])
		if err != nil {
			return err
		}
		words, err := absoluteBacking(args[2:])
		if err != nil {
			return err
		}
		if err := c.command(c.store("ctl"), append([]string{"register", args[0], source}, words...)...); err != nil {
			return err
		}
		disk, err := c.image(args[0], "disk")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(env.stdout, disk)
		return err
	})
}

// absoluteBacking makes the path of a backing file absolute, among words that are KEY=VALUE.
func absoluteBacking(words []string) ([]string, error) {
	words = slices.Clone(words)
	for i, w := range words {
		path, ok := strings.CutPrefix(w, "backing=")
		if !ok || path == "" {
			continue
		}
		path, err := absolute(path)
		if err != nil {
			return nil, err
		}
		words[i] = "backing=" + path
	}
	return words, nil
}

// absolute makes a path mean the same to the daemon as it does here; a URL does already.
func absolute(source string) (string, error) {
	if strings.Contains(source, "://") {
		return source, nil
	}
	return filepath.Abs(source)
}
