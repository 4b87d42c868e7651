package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newTag(env *environment) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "tag IMAGE [KEY[=VALUE] ...]",
		Short: "List, set or remove the tags of an image",
		Long: `List the tags of an image, a KEY=VALUE on each line. With KEY=VALUE set tags; a VALUE may be
empty. With -d remove the tags KEY.`,
		Example: "  imsfs tag web\n  imsfs tag web stage=prod reviewed\n  imsfs tag -d web reviewed",
		Args:    atLeast("IMAGE"),
	}
	cmd.Flags().BoolVarP(&remove, "delete", "d", false, "remove the tags")
	return treeCommand(env, cmd, func(c *client, args []string) error {
		image, tags := args[0], args[1:]
		switch {
		case remove && len(tags) == 0:
			return &usageError{cmd.CommandPath(), errors.New("tag -d wants IMAGE and KEY: 1 given")}
		case remove:
			return forEach(tags, func(key string) error { return c.imageCommand(image, "untag", key) })
		case len(tags) > 0:
			return forEach(tags, func(tag string) error {
				key, value, _ := strings.Cut(tag, "=")
				return c.imageCommand(image, "tag", key, value)
			})
		}
		all, err := c.tags(image)
		for _, tag := range all {
			fmt.Fprintln(env.stdout, tag)
		}
		return err
	})
}

// tags returns the tags of an image, each as KEY=VALUE.
func (c *client) tags(image string) ([]string, error) {
	dir, err := c.image(image, "tags")
	if err != nil {
		return nil, err
	}
	pairs, err := readTexts(dir)
	var tags []string
	for _, p := range pairs {
		tags = append(tags, p.key+"="+p.value)
	}
	return tags, err
}
