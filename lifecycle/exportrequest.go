package lifecycle

import (
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
)

// exportRequest is what the words of an export ask for.
type exportRequest struct {
	format  string
	dest    string // an absolute path
	opts    formats.CreateOptions
	verify  bool
	force   bool
	anyRoom bool // begin even if the data do not fit
}

// exportRequest understands FORMAT DEST [KEY=VALUE ...].
func (r *Registry) exportRequest(rec record, words []string) (exportRequest, error) {
	q := exportRequest{format: words[0], verify: true}
	creator, err := r.cfg.Formats.Creator(q.format)
	if err != nil {
		return q, refuse(iofs.ErrInvalid, "%v", err)
	}
	if q.dest, err = r.checkDest(words[1]); err != nil {
		return q, err
	}
	choices, err := q.own(words[2:])
	if err != nil {
		return q, err
	}
	q.opts.Timestamp = rec.created()
	if err := q.opts.Choose(q.format, creator.Options(), choices); err != nil {
		return q, refuse(iofs.ErrInvalid, "%v; export itself has force, level, space_check and verify", err)
	}
	if q.opts.UUID == [16]byte{} {
		q.opts.UUID = formats.DeriveUUID(rec.sourceName(), rec.Identity.Size, rec.Size, q.opts.Timestamp)
	}
	return q, nil
}

// own takes the keys that are the verb's own, each at most once, and returns the others.
func (q *exportRequest) own(words []string) (others []string, err error) {
	var seen []string
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case !slices.Contains([]string{"force", "level", "space_check", "verify"}, key):
			others = append(others, w)
			continue
		case slices.Contains(seen, key):
			return nil, refuse(ErrUsage, "%s is given twice", key)
		}
		seen = append(seen, key)
		switch key {
		case "force":
			q.force, err = yesOrNo(w, value)
		case "verify":
			q.verify, err = yesOrNo(w, value)
		case "space_check":
			q.anyRoom, err = yesOrNo(w, value)
			q.anyRoom = !q.anyRoom
		case "level":
			q.opts.Level, err = strconv.Atoi(value)
			if err != nil || q.opts.Level < 0 {
				err = refuse(iofs.ErrInvalid, "%s: a level is a number in the format's own terms, 0 its usual one", Quote(w))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return others, nil
}

func yesOrNo(word, value string) (bool, error) {
	if value != "yes" && value != "no" {
		return false, refuse(iofs.ErrInvalid, "%s: it must be yes or no", Quote(word))
	}
	return value == "yes", nil
}

// checkDest refuses a path that is not for exports: where the daemon keeps its own things, and what other images are read from.
func (r *Registry) checkDest(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", refuse(iofs.ErrInvalid, "the destination %q is relative: give its absolute path, which is the same for everyone", path)
	}
	if strings.HasSuffix(path, "/") {
		return "", refuse(iofs.ErrInvalid, "the destination %s is a directory: name the file to be written", path)
	}
	path = filepath.Clean(path)
	// By its words first: a look at the daemon's own tree would be answered by the daemon.
	for _, real := range []func(string) string{filepath.Clean, followed} {
		at := real(path)
		switch {
		case within(r.cfg.Mountpoint, at):
			return "", refuse(iofs.ErrInvalid, "the destination %s lies in this tree itself", path)
		case within(r.cfg.StoreDir, at):
			return "", refuse(iofs.ErrInvalid, "the destination %s lies in the store", path)
		}
		for _, img := range r.Images() {
			if img.record().reads(at) {
				return "", refuse(iofs.ErrExist, "the destination %s is what the image %q is read from", path, img.Name())
			}
		}
		for _, v := range r.Volumes() {
			if slices.ContainsFunc(v.record().rests(), func(rec record) bool { return rec.reads(at) }) {
				return "", refuse(iofs.ErrExist, "the destination %s is what the volume %q is read from", path, v.Name())
			}
		}
	}
	return path, nil
}

// sourceName is the last element of where the source is, without the way there.
func (rec record) sourceName() string {
	at, err := source.Parse(rec.Source)
	if err != nil {
		return filepath.Base(rec.Source)
	}
	return at.Base()
}

// reads tells whether a path is one of the files that an image is read from.
func (rec record) reads(path string) bool {
	return slices.ContainsFunc(rec.files(), func(f chain.File) bool { return f.Path == path })
}

// followed is where a path leads, by links in it and by itself being one; the path if it leads nowhere.
func followed(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// within tells whether a path is a directory or something in it; "" is no directory.
func within(dir, path string) bool {
	if dir == "" {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
