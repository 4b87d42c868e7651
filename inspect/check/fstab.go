package check

import (
	"context"
	"regexp"
	"strings"
)

// kernelName matches device names that change when a disk is attached in another way.
var kernelName = regexp.MustCompile(`^/dev/(sd[a-z]|vd[a-z]|xvd[a-z]|hd[a-z]|nvme[0-9])`)

func fstabUUID(ctx context.Context, s Subject) Finding {
	if f, ok := readableFstab(ctx, s); !ok {
		return f
	}
	bad := pass("every device in /etc/fstab has a lasting name")
	for _, l := range s.Fstab {
		if kernelName.MatchString(l.Spec) {
			if bad.Result == Pass {
				bad = fail("/etc/fstab names a device by the order of its discovery; use UUID=")
			}
			bad = bad.with(Evidence{"/etc/fstab", l.Number, l.Spec})
		}
	}
	return bad
}

// readableFstab returns the finding for an fstab that says nothing.
func readableFstab(ctx context.Context, s Subject) (Finding, bool) {
	_, err := s.View.Read(ctx, "/etc/fstab")
	switch {
	case missing(err):
		return unknown("there is no /etc/fstab"), false
	case err != nil:
		return unknown("/etc/fstab cannot be read: %v", err), false
	}
	return Finding{}, true
}

func fstabData(ctx context.Context, s Subject) Finding {
	if f, ok := readableFstab(ctx, s); !ok {
		return f
	}
	found := map[string]bool{}
	for _, m := range s.System.Mounts {
		found[m.Spec+" "+m.At] = m.Found
	}
	bad := pass("every file system in /etc/fstab is on this disk")
	for _, l := range s.Fstab {
		there, known := found[l.Spec+" "+l.At]
		if !known || there || l.Has("nofail") || l.Has("noauto") || kernelName.MatchString(l.Spec) {
			continue
		}
		if bad.Result == Pass {
			bad = fail("/etc/fstab needs a file system that is not on this disk; add nofail or remove the line")
		}
		bad = bad.with(Evidence{"/etc/fstab", l.Number, l.Spec})
	}
	return bad
}

var rootArgument = regexp.MustCompile(`(?:^|\s)root=(\S+)`)

// grubUUID looks at root= of the boot entries. Lines with variables are not evaluated.
func grubUUID(ctx context.Context, s Subject) Finding {
	var seen []Evidence
	for _, path := range bootFiles(ctx, s) {
		p, err := s.View.Read(ctx, path)
		if missing(err) {
			continue
		}
		if err != nil {
			return unknown("%s cannot be read: %v", path, err)
		}
		number := 0
		for line := range strings.Lines(string(p)) {
			number++
			m := rootArgument.FindStringSubmatch(line)
			if m == nil || strings.HasPrefix(strings.TrimSpace(line), "#") || strings.Contains(m[1], "$") {
				continue
			}
			e := Evidence{path, number, m[1]}
			if kernelName.MatchString(m[1]) {
				return fail("a boot entry names the root device by the order of its discovery; use root=UUID=").with(e)
			}
			if len(seen) < 8 {
				seen = append(seen, e)
			}
		}
	}
	if len(seen) == 0 {
		return unknown("no boot entry with a root= that needs no evaluation was found")
	}
	return pass("the boot entries name the root device by a lasting name").with(seen...)
}

// bootFiles are the files that boot loaders read their entries from.
func bootFiles(ctx context.Context, s Subject) []string {
	files := []string{"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/menu.lst", "/boot/grub/grub.conf",
		"/boot/syslinux/syslinux.cfg", "/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/extlinux.conf"}
	names, err := s.View.List(ctx, "/boot/loader/entries")
	if err != nil {
		return files
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".conf") && len(files) < 64 {
			files = append(files, "/boot/loader/entries/"+name)
		}
	}
	return files
}
