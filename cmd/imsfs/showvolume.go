package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
)

// showVolume prints a volume's status and attributes, under the keys of its files.
func showVolume(env *environment, dir string, json bool) error {
	all, err := readStatus(filepath.Join(dir, "status"))
	if err != nil {
		return err
	}
	all = append(all, pair{"disk", filepath.Join(dir, "disk")})
	if job, err := readLine(filepath.Join(dir, "job")); err != nil {
		return err
	} else if job != "" {
		all = append(all, pair{"job", job})
	}
	keys, err := os.ReadDir(filepath.Join(dir, "meta"))
	if err != nil {
		return err
	}
	meta := map[string]string{}
	var said []pair
	for _, k := range keys {
		value, err := readLine(filepath.Join(dir, "meta", k.Name()))
		if err != nil {
			return err
		}
		if value != "" {
			meta[k.Name()] = value
			said = append(said, pair{k.Name(), value})
		}
	}
	if json {
		report := map[string]any{"meta": meta}
		for _, p := range all {
			report[p.key] = p.value
			if n, err := strconv.ParseInt(p.value, 10, 64); err == nil && p.key != "name" && p.key != "image" {
				report[p.key] = n
			}
		}
		return env.writeJSON(report)
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, p := range append(all, said...) {
		if n, err := strconv.ParseInt(p.value, 10, 64); err == nil && (p.key == "size" || p.key == "written") {
			p.value = size(n)
		}
		fmt.Fprintf(w, "%s\t%s\n", p.key, p.value)
	}
	return w.Flush()
}
