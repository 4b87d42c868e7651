package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
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
	ID          int64             `json:"id"`
	Name        string            `json:"name"`
	State       string            `json:"state"`
	Format      string            `json:"format"`
	Size        int64             `json:"size"`
	Allocated   int64             `json:"allocated"`
	ClusterSize int64             `json:"cluster_size"`
	Compression string            `json:"compression"`
	SectorSize  int64             `json:"logical_sector_size,omitempty"`
	Source      string            `json:"source"`
	Map         string            `json:"map,omitempty"`
	Registered  string            `json:"registered"`
	Opens       int64             `json:"opens"`
	Load        string            `json:"load,omitempty"`
	Committed   bool              `json:"committed"`
	Complete    bool              `json:"complete"`
	Loaded      int64             `json:"loaded"`
	Digest      string            `json:"digest,omitempty"`
	Index       string            `json:"index,omitempty"`
	IndexError  string            `json:"index_error,omitempty"`
	Error       string            `json:"error,omitempty"`
	Job         string            `json:"job,omitempty"`
	Disk        string            `json:"disk"`
	Meta        map[string]string `json:"meta"`
	Tags        map[string]string `json:"tags"`

	meta []pair // in the tree's order
}

// report reads an image's files.
func (c *client) report(name string) (*imageReport, error) {
	dir := c.store("images/" + name)
	status, err := readStatus(dir + "/status")
	if err != nil {
		return nil, err
	}
	r := &imageReport{Disk: dir + "/disk", Meta: map[string]string{}, Tags: map[string]string{}}
	for _, p := range status {
		r.set(p)
	}
	if r.Job, err = readLine(dir + "/job"); err != nil {
		return nil, err
	}
	if r.Digest, err = readLine(dir + "/digest"); err != nil {
		return nil, err
	}
	if r.meta, err = readTexts(dir + "/meta"); err != nil {
		return nil, err
	}
	for _, p := range r.meta {
		if p.value != "" {
			r.Meta[p.key] = p.value
		}
	}
	tags, err := readTexts(dir + "/tags")
	if err != nil {
		return nil, err
	}
	for _, p := range tags {
		r.Tags[p.key] = p.value
	}
	return r, nil
}

// set takes one line of the status. Keys that this program does not know are left out.
func (r *imageReport) set(p pair) {
	texts := map[string]*string{
		"name": &r.Name, "state": &r.State, "format": &r.Format, "compression": &r.Compression,
		"source": &r.Source, "map": &r.Map, "registered": &r.Registered, "load": &r.Load,
		"index": &r.Index, "index_error": &r.IndexError, "error": &r.Error,
	}
	numbers := map[string]*int64{
		"id": &r.ID, "size": &r.Size, "allocated": &r.Allocated, "logical_sector_size": &r.SectorSize,
		"cluster_size": &r.ClusterSize, "opens": &r.Opens, "loaded": &r.Loaded,
	}
	flags := map[string]*bool{"committed": &r.Committed, "complete": &r.Complete}
	if to, ok := texts[p.key]; ok {
		*to = p.value
	} else if to, ok := numbers[p.key]; ok {
		*to, _ = strconv.ParseInt(p.value, 10, 64)
	} else if to, ok := flags[p.key]; ok {
		*to = p.value == "yes"
	}
}

func table(env *environment, reports []*imageReport) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tFORMAT\tSIZE\tDATA\tLOCAL\tREGISTERED")
	for _, r := range reports {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.State, r.Format,
			humanize.IBytes(uint64(r.Size)), humanize.IBytes(uint64(r.Allocated)), r.local(), r.Registered)
	}
	return w.Flush()
}

// local returns how much of the disk the store has: "all" means that the source is not needed.
func (r *imageReport) local() string {
	if r.Complete {
		return "all"
	}
	return humanize.IBytes(uint64(r.Loaded))
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
	if r.SectorSize > 0 {
		line("sector size", size(r.SectorSize))
	}
	line("source", r.Source)
	line("map", r.Map)
	line("registered", r.Registered)
	line("opens", strconv.FormatInt(r.Opens, 10))
	line("load", r.Load)
	line("local", r.local())
	if r.Committed {
		line("committed", "yes")
	}
	line("digest", r.Digest)
	line("index", r.Index)
	line("index error", r.IndexError)
	line("job", r.Job)
	for _, p := range r.meta {
		line(p.key, p.value)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		fmt.Fprintf(w, "tag %s\t%s\n", key, r.Tags[key])
	}
	return w.Flush()
}
