package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
	remote "github.com/imsfs/imsfs/lazyload/source/http"
)

// commandSources lists the kinds of sources that commands on image files read. allow are directories
// that names in images may lead into. A command acts for its user, who may reach any host.
func commandSources(allow []string) source.Opener {
	return source.Opener{Kinds: []source.Kind{
		file.Kind{AllowDirs: allow, Devices: true},
		remote.New(remote.Config{Policy: remote.Policy{Any: true}, Proxy: http.ProxyFromEnvironment}),
	}}
}

// daemonSources lists the kinds of sources that can be registered.
func daemonSources(opts serveOptions, now func() time.Time) source.Opener {
	return source.Opener{Kinds: []source.Kind{
		file.Kind{AllowDirs: opts.allowDirs, Except: resolve(opts.mountpoint)},
		remote.New(remote.Config{Policy: opts.policy, Now: now}),
	}}
}

// publicHosts in place of a URL permits all hosts with public addresses.
const publicHosts = "public"

// allowURLFlag adds the flag for the hosts that a daemon fetches from.
func allowURLFlag(cmd *cobra.Command, prefixes *[]string) {
	cmd.Flags().StringArrayVar(prefixes, "allow-url", nil,
		"let images be registered whose URL begins with this `PREFIX`, or with \"public\" those of all public hosts (can be repeated)")
}

// parsePolicy parses the values of --allow-url.
func parsePolicy(prefixes []string) (remote.Policy, error) {
	var p remote.Policy
	for _, text := range prefixes {
		if text == publicHosts {
			p.Public = true
			continue
		}
		l, err := source.Parse(text)
		switch {
		case err != nil:
			return p, fmt.Errorf("--allow-url: %w", err)
		case l.Scheme != "http" && l.Scheme != "https":
			return p, fmt.Errorf("--allow-url %s: it must begin with http:// or https://, or be %s", text, publicHosts)
		case l.Query != "":
			return p, errors.New("--allow-url: a prefix has no query")
		}
		p.Prefixes = append(p.Prefixes, l)
	}
	return p, nil
}
