package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func newLs(env *environment) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the images",
		Example: "  imsfs ls\n  imsfs ls --json | jq -r '.[] | select(.state == \"active\") | .name'",
		Args:    exactly(),
	}
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return treeCommand(env, cmd, func(c *client, _ []string) error {
		names, err := c.names()
		if err != nil {
			return err
		}
		reports := []*imageReport{}
		for _, name := range names {
			r, err := c.report(name)
			if errors.Is(err, iofs.ErrNotExist) {
				continue // deleted since it was listed
			}
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
		if json {
			return env.writeJSON(reports)
		}
		return table(env, reports)
	})
}

func newShow(env *environment) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Tell all about an image or a volume",
		Example: "  imsfs show web\n  imsfs show web --json | jq .size",
		Args:    exactly("NAME"),
	}
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return treeCommand(env, cmd, func(c *client, args []string) error {
		dir, err := c.named(args[0], "")
		if err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(dir)) == "volumes" {
			return showVolume(env, dir, json)
		}
		r, err := c.report(filepath.Base(dir))
		if err != nil {
			return err
		}
		if json {
			return env.writeJSON(r)
		}
		return r.describe(env)
	})
}

// imageReport is an image's status and attributes, with the keys of its files.
type imageReport struct {
	ID          uint64            `json:"id"`
	Name        string            `json:"name"`
	State       string            `json:"state"`
	Format      string            `json:"format"`
	Size        int64             `json:"size"`
	Allocated   int64             `json:"allocated"`
	ClusterSize int64             `json:"cluster_size"`
	Compression string            `json:"compression"`
	Source      string            `json:"source"`
	Registered  string            `json:"registered"`
	Opens       int               `json:"opens"`
	Error       string            `json:"error,omitempty"`
	Job         string            `json:"job,omitempty"`
	Disk        string            `json:"disk"`
	Meta        map[string]string `json:"meta"`

	meta []pair // in the tree's order
}

// report reads an image's files.
func (c *client) report(name string) (*imageReport, error) {
	dir := c.store("images/" + name)
	status, err := readStatus(dir + "/status")
	if err != nil {
		return nil, err
	}
	r := &imageReport{Disk: dir + "/disk", Meta: map[string]string{}}
	for _, p := range status {
		r.set(p)
	}
	if r.Job, err = readLine(dir + "/job"); err != nil {
		return nil, err
	}
	keys, err := os.ReadDir(dir + "/meta")
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		value, err := readLine(dir + "/meta/" + k.Name())
		if err != nil {
			return nil, err
		}
		r.meta = append(r.meta, pair{k.Name(), value})
		if value != "" {
			r.Meta[k.Name()] = value
		}
	}
	return r, nil
}

func (r *imageReport) set(p pair) {
	number := func() int64 { n, _ := strconv.ParseInt(p.value, 10, 64); return n }
	switch p.key {
	case "id":
		r.ID = uint64(number())
	case "name":
		r.Name = p.value
	case "state":
		r.State = p.value
	case "format":
		r.Format = p.value
	case "size":
		r.Size = number()
	case "allocated":
		r.Allocated = number()
	case "cluster_size":
		r.ClusterSize = number()
	case "compression":
		r.Compression = p.value
	case "source":
		r.Source = p.value
	case "registered":
		r.Registered = p.value
	case "opens":
		r.Opens = int(number())
	case "error":
		r.Error = p.value
	}
}

func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSuffix(string(b), "\n"), err
}

func table(env *environment, reports []*imageReport) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tFORMAT\tSIZE\tDATA\tREGISTERED")
	for _, r := range reports {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.State, r.Format,
			humanize.IBytes(uint64(r.Size)), humanize.IBytes(uint64(r.Allocated)), r.Registered)
	}
	return w.Flush()
}

// describe prints for people: what is not known is left out.
func (r *imageReport) describe(env *environment) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, value)
		}
	}
	line("name", r.Name)
	line("state", r.State)
	line("error", r.Error)
	line("disk", r.Disk)
	line("format", r.Format)
	line("size", size(r.Size))
	line("allocated", size(r.Allocated))
	line("cluster size", size(r.ClusterSize))
	line("compression", r.Compression)
	line("source", r.Source)
	line("registered", r.Registered)
	line("opens", strconv.Itoa(r.Opens))
	line("job", r.Job)
	for _, p := range r.meta {
		line(p.key, p.value)
	}
	return w.Flush()
}
