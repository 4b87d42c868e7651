package system

import (
	"bytes"
	"context"
	"strings"
)

// packages counts the installed packages where the database is understood. A database that is not
// leaves the total unknown.
func (s *System) packages(ctx context.Context, v *View) {
	if p, err := v.read(ctx, "/var/lib/dpkg/status", 64<<20); err == nil {
		s.PackageFormat = "dpkg"
		s.total(bytes.Count(p, []byte("\nStatus: install ok installed")) + bytes.Count(p, []byte("\nStatus: hold ok installed")))
		return
	} else if damaged(err) {
		s.note(err)
	}
	for _, path := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		if p, err := v.read(ctx, path, 64<<20); err == nil {
			s.PackageFormat = "apk"
			n := bytes.Count(p, []byte("\nP:"))
			if bytes.HasPrefix(p, []byte("P:")) {
				n++
			}
			s.total(n)
			return
		}
	}
	if names, err := v.List(ctx, "/var/lib/pacman/local"); err == nil && len(names) > 0 {
		s.PackageFormat = "pacman"
		n := 0
		for _, name := range names {
			if strings.Count(name, "-") >= 2 {
				n++
			}
		}
		s.total(n)
		return
	}
	for _, dir := range []string{"/var/lib/rpm/", "/usr/lib/sysimage/rpm/"} {
		for _, db := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			if ok, err := v.Exists(ctx, dir+db); err == nil && ok {
				s.PackageFormat = "rpm"
				s.Notes = append(s.Notes, "the rpm database "+dir+db+" is not read: the number of packages is unknown")
				return
			}
		}
	}
}

func (s *System) total(n int) { s.PackagesTotal = &n }
