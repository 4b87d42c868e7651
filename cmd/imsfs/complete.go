package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// completer returns the words that may follow args in a command line on a tree.
type completer func(c *client, args []string) ([]string, cobra.ShellCompDirective)

// completeImage completes one image.
func completeImage(c *client, args []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeImages(c, args)
}

// completeImages completes any number of images.
func completeImages(c *client, _ []string) ([]string, cobra.ShellCompDirective) {
	names, _ := c.names()
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSet completes the arguments of set: a name, an attribute's key, its value.
func completeSet(c *client, args []string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return completeImages(c, args)
	case 1:
		return keys(c.attributes(args[0]), ""), cobra.ShellCompDirectiveNoFileComp
	case 2:
		for _, o := range c.attributes(args[0]) {
			if o.Key == args[1] && o.Rule != nil {
				return command.Values(o.Rule), cobra.ShellCompDirectiveNoFileComp
			}
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// attributes returns what set changes of an image or a volume.
func (c *client) attributes(name string) []command.Option {
	dir, err := c.named(name, "")
	if err == nil && filepath.Base(filepath.Dir(dir)) == "volumes" {
		return lifecycle.VolumeAttributes()
	}
	return lifecycle.Attributes()
}

// completeRegister completes the arguments of register: files, and KEY=VALUE after them.
func completeRegister(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	key, _, hasValue := strings.Cut(word, "=")
	if len(args) < 2 || hasValue && key == "backing" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if !hasValue {
		return keys(registerOptions(), "="), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, o := range registerOptions() {
		if o.Key != key || o.Rule == nil {
			continue
		}
		for _, v := range command.Values(o.Rule) {
			words = append(words, key+"="+v)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// registerOptions returns the options of the verb register.
func registerOptions() []command.Option {
	for _, v := range lifecycle.StoreVerbs() {
		if v.Name == "register" {
			return v.Options
		}
	}
	return nil
}

// keys returns the keys of options, each with its help, for a shell.
func keys(options []command.Option, suffix string) []string {
	var words []string
	for _, o := range options {
		words = append(words, o.Key+suffix+"\t"+o.Help)
	}
	return words
}
