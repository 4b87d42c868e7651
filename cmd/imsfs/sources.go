package main

import (
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
)

// commandSources lists the kinds of sources that commands on image files read. allow are directories
// that names in images may lead into.
func commandSources(allow []string) source.Opener {
	return source.Opener{Kinds: []source.Kind{
		file.Kind{AllowDirs: allow, Devices: true},
	}}
}

// daemonSources lists the kinds of sources that can be registered.
func daemonSources(opts serveOptions) source.Opener {
	return source.Opener{Kinds: []source.Kind{
		file.Kind{AllowDirs: opts.allowDirs, Except: resolve(opts.mountpoint)},
	}}
}
