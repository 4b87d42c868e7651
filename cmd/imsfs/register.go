package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/lifecycle/command"
)

func newRegister(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register [NAME] SOURCE [KEY=VALUE …]",
		Short: "Register an image and print the path of its disk",
		Long: `Register an image under a name. From then on its disk is in the tree, and its path is printed.

SOURCE is an image file; it is opened and checked at once, read when the disk is read, and never written to.
Without NAME the image has the name of the file, without its extension.
format=FMT names the format instead of telling it by the content; the other keys are the image's attributes:
see imsfs set.`,
		Example: `  imsfs register web /srv/images/web.zvhd2
  imsfs register web.zvhd2
  imsfs register web web.zvhd2 os=linux os_version="Debian 12" min_ram=512`,
		Args:              atLeast("SOURCE"),
		ValidArgsFunction: completeRegister,
	}
	return treeCommand(env, cmd, func(c *client, args []string) error {
		name, source, words := splitRegister(args)
		source, err := absolute(source)
		if err != nil {
			return err
		}
		words, err = absoluteBacking(words)
		if err != nil {
			return err
		}
		if err := c.command(c.store("ctl"), append([]string{"register", name, source}, words...)...); err != nil {
			return err
		}
		disk, err := c.image(name, "disk")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(env.stdout, disk)
		return err
	})
}

// splitRegister returns the parts of the arguments of register. The name is missing if the second
// argument is an option of the verb.
func splitRegister(args []string) (name, source string, options []string) {
	if len(args) == 1 || isRegisterOption(args[1]) {
		return nameOfSource(args[0]), args[0], args[1:]
	}
	return args[0], args[1], args[2:]
}

func isRegisterOption(word string) bool {
	key, _, ok := strings.Cut(word, "=")
	return ok && slices.ContainsFunc(registerOptions(), func(o command.Option) bool { return o.Key == key })
}

// nameOfSource returns the last element of a path or a URL without its extension.
func nameOfSource(source string) string {
	if u, err := url.Parse(source); err == nil && strings.Contains(source, "://") {
		source = u.Path
	}
	base := filepath.Base(source)
	if short := strings.TrimSuffix(base, filepath.Ext(base)); short != "" {
		return short
	}
	return base
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
