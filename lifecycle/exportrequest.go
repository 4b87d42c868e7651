package lifecycle

import (
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// exportRequest is the arguments of an export.
type exportRequest struct {
	format  string
	dest    string // an absolute path
	opts    formats.CreateOptions
	verify  bool
	force   bool
	anyRoom bool // begin even if the data do not fit
}

// exportRequest checks the arguments of an export.
func (r *Registry) exportRequest(rec catalog.Image, args *command.Args) (exportRequest, error) {
	q := exportRequest{
		format: args.Text("FORMAT"), verify: args.Yes("verify", true), force: args.Yes("force", false), anyRoom: !args.Yes("space_check", true),
	}
	creator, err := r.cfg.Formats.Creator(q.format)
	if err != nil {
		return q, command.Refuse(iofs.ErrInvalid, "%v", err)
	}
	if q.dest, err = r.checkDest(args.Text("DEST")); err != nil {
		return q, err
	}
	q.opts.Name = filepath.Base(q.dest)
	q.opts.Timestamp, q.opts.Level, q.opts.SectorSize = rec.Created(), int(args.Int("level", 0)), rec.SectorSize
	if err := q.opts.Choose(q.format, creator.Options(), args.Others()); err != nil {
		return q, command.Refuse(iofs.ErrInvalid, "%v; export itself has %s", err, "force, level, space_check, verify and, of a volume, salvage")
	}
	q.opts.Name = filepath.Base(q.dest)
	if q.opts.UUID == [16]byte{} {
		q.opts.UUID = formats.DeriveUUID(sourceName(rec.Path), rec.Identity.Size, rec.Size, q.opts.Timestamp)
	}
	return q, nil
}

// sourceName returns the last element of a source's location.
func sourceName(location string) string {
	at, err := source.Parse(location)
	if err != nil {
		return filepath.Base(location)
	}
	return at.Base()
}

// checkDest refuses a path that is not for exports: the daemon's own files, and those that images
// and volumes are read from.
func (r *Registry) checkDest(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", command.Refuse(iofs.ErrInvalid, "the destination %q is relative: give its absolute path, which is the same for every caller", path)
	}
	if strings.HasSuffix(path, "/") {
		return "", command.Refuse(iofs.ErrInvalid, "the destination %s is a directory: name the file to be written", path)
	}
	path = filepath.Clean(path)
	// By its words first: a look at the daemon's own tree would be answered by the daemon.
	for _, real := range []func(string) string{filepath.Clean, followed} {
		at := real(path)
		switch {
		case within(r.cfg.Mountpoint, at):
			return "", command.Refuse(iofs.ErrInvalid, "the destination %s lies in this tree itself", path)
		case within(r.cfg.StoreDir, at):
			return "", command.Refuse(iofs.ErrInvalid, "the destination %s lies in the store", path)
		}
		for _, img := range r.Images() {
			if img.record().Reads(at) {
				return "", command.Refuse(iofs.ErrExist, "the destination %s is what the image %q is read from", path, img.Name())
			}
		}
		for _, v := range r.Volumes() {
			if slices.ContainsFunc(v.record().Bases(), func(base catalog.Base) bool { return base.Reads(at) }) {
				return "", command.Refuse(iofs.ErrExist, "the destination %s is what the volume %q is read from", path, v.Name())
			}
		}
	}
	return path, nil
}

// followed returns where a path leads, with the links in it and at its end followed; the path
// itself if it leads nowhere.
func followed(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// within reports whether a path is a directory or lies in it. The directory "" holds nothing.
func within(dir, path string) bool {
	if dir == "" {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
