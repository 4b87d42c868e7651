package output

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBaitIsRefused: in a directory where anyone can create files, another user's link is not
// followed, nor a file of theirs replaced. It takes root to make such files.
func TestBaitIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") == "1" {
			t.Fatal("IMSFS_REQUIRE_TOOLS=1 and not root")
		}
		t.Skip("makes files of other users, for which it must be root")
	}
	const other = 65534
	for _, c := range []struct {
		name    string
		mode    uint32 // of the directory
		dirUID  int
		link    bool
		uid     int
		refused bool
	}{
		{"another user's link in /tmp", 0o1777, 0, true, other, true},
		{"another user's file in /tmp", 0o1777, 0, false, other, true},
		{"an own link in /tmp", 0o1777, 0, true, 0, false},
		{"an own file in /tmp", 0o1777, 0, false, 0, false},
		{"a link of the directory's owner", 0o1777, other, true, other, false},
		{"a file of the directory's owner", 0o1777, other, false, other, false},
		{"another user's link in a directory of root's", 0o755, 0, true, other, false},
		{"another user's file in a directory of root's", 0o755, 0, false, other, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			dir, victim := filepath.Join(top, "dir"), filepath.Join(top, "victim")
			path := filepath.Join(dir, "dst")
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.WriteFile(victim, []byte("old"), 0o600))
			if c.link {
				must(t, os.Symlink(victim, path))
			} else {
				must(t, os.WriteFile(path, []byte("old"), 0o600))
			}
			must(t, os.Lchown(path, c.uid, c.uid))
			must(t, os.Chown(dir, c.dirUID, c.dirUID))
			must(t, unix.Chmod(dir, c.mode))
			o, err := Create(path, nil, true)
			if c.refused {
				if !errors.Is(err, iofs.ErrPermission) || !strings.Contains(err.Error(), "user 65534") {
					t.Errorf("Create: %v, want a refusal", err)
				}
				return
			}
			must(t, err)
			must(t, o.Commit())
			changed := victim
			if !c.link {
				changed = path
			}
			if b, err := os.ReadFile(changed); err != nil || len(b) != 0 {
				t.Errorf("%s holds %q, %v", changed, b, err)
			}
		})
	}
}

func TestLinksAreFollowedToTheirEnd(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("sub"), 0o700))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	for name, target := range map[string]string{"first": "sub/second", "sub/second": "../file", "ring": "ring2", "ring2": "ring", "dangling": "sub/none", "deep": "dangling"} {
		must(t, os.Symlink(target, at(name)))
	}
	for path, want := range map[string]string{"file": "file", "new": "new", "first": "file", "ring": "", "dangling": "", "deep": ""} {
		got, err := followLinks(at(path))
		if want == "" && err == nil || want != "" && (err != nil || filepath.Clean(got) != at(want)) {
			t.Errorf("%s leads to %q, %v, want %q", path, got, err, want)
		}
	}
}
