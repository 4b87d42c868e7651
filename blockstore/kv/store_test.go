package kv

import (
	"crypto/sha256"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// snapshot maps every file under dir to a hash. It leaves out the lock, which contains a pid.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
		if err != nil || d.Name() == lockFile {
			return err
		}
		if d.IsDir() {
			files[path] = "directory"
			return nil
		}
		b, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mustRefuse checks that Open fails with this kind of error and these words in its text, and
// changes nothing.
func mustRefuse(t *testing.T, dir string, kind error, words ...string) {
	t.Helper()
	before := snapshot(t, dir)
	db, err := Open(dir, Options{})
	if err == nil {
		mustClose(t, db)
		t.Errorf("opened, want %v", kind)
		return
	}
	if !errors.Is(err, kind) {
		t.Errorf("error is %q, want kind %v", err, kind)
	}
	for _, w := range append(words, dir) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not tell %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error is not one line: %q", err)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("the refused directory was changed:\nbefore %v\nafter  %v", before, after)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesAStore(t *testing.T) {
	for _, name := range []string{"empty", "missing", "missing/deep", "mkfs", "killed", "killed-late"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			switch name {
			case "empty":
				os.MkdirAll(dir, 0o700)
			case "mkfs":
				os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700)
			case "killed": // before the marker was written
				os.MkdirAll(filepath.Join(dir, newDir), 0o700)
				write(t, filepath.Join(dir, newDir, "MANIFEST"), "half")
				write(t, filepath.Join(dir, lockFile), "")
				write(t, filepath.Join(dir, "."+markerFile+"123"), "ims")
			case "killed-late": // between the marker and the database's last name
				mustClose(t, mustOpen(t, dir))
				os.Remove(filepath.Join(dir, sealFile))
				if err := os.Rename(filepath.Join(dir, dbDir), filepath.Join(dir, newDir)); err != nil {
					t.Fatal(err)
				}
			}
			db := mustOpen(t, dir)
			set(t, db, "k", "v")
			mustClose(t, db)
			db = mustOpen(t, dir)
			defer mustClose(t, db)
			if got := dump(t, db, ""); !slices.Equal(got, []string{"k=v"}) {
				t.Errorf("store has %q", got)
			}
		})
	}
}

func TestOpenRefusesWhatIsNoStore(t *testing.T) {
	t.Run("foreign", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "letter.txt"), "dear")
		mustRefuse(t, dir, iofs.ErrInvalid, "letter.txt", "not a store")
	})
	t.Run("newer", func(t *testing.T) {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, dir))
		write(t, filepath.Join(dir, markerFile), "imsfs store layout 7\n")
		mustRefuse(t, dir, errors.ErrUnsupported, "layout 7", "newer")
	})
	t.Run("marker", func(t *testing.T) {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, dir))
		write(t, filepath.Join(dir, markerFile), "imsfs st\x00")
		mustRefuse(t, dir, ErrDamaged, markerFile)
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, "text")
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("Open of a file = %v", err)
		}
	})
}

func TestOpenNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	defer mustClose(t, db)
	mustRefuse(t, dir, ErrInUse, "process "+strconv.Itoa(os.Getpid()))
}

// filled returns the directory of a closed store with records for several tables.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for round := range 3 {
		db := mustOpen(t, dir)
		err := db.Update(func(tx *WriteTx) error {
			for i := range 200 {
				if err := tx.Set(fmt.Appendf(nil, "%d/%d", round, i), []byte(strings.Repeat("v", 300))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	}
	return dir
}

// TestDamageIsFound damages every file of a closed and of a killed store in every simple way.
func TestDamageIsFound(t *testing.T) {
	origin := filled(t)
	files, err := os.ReadDir(filepath.Join(origin, dbDir))
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(string) error{
		"missing":  os.Remove,
		"emptied":  func(path string) error { return os.Truncate(path, 0) },
		"cut":      func(path string) error { return resize(path, -7) },
		"extended": func(path string) error { return resize(path, 7) },
		"flipped":  flip,
	}
	for _, f := range files {
		for how, do := range damage {
			t.Run(f.Name()+"/"+how, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, dbDir, f.Name())
				if err := do(path); err != nil {
					t.Fatal(err)
				}
				mustRefuse(t, dir, ErrDamaged, f.Name(), sealFile)

				// Without the seal, as after a kill, the files with the records
				// must still be checked.
				if err := os.Remove(filepath.Join(dir, sealFile)); err != nil {
					t.Fatal(err)
				}
				table := strings.HasSuffix(f.Name(), ".sst")
				manifest := f.Name() == "MANIFEST" && (how == "missing" || how == "emptied" || how == "flipped")
				if table || manifest {
					mustRefuse(t, dir, ErrDamaged, f.Name())
				}
			})
		}
	}
}

func resize(path string, by int64) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, max(0, st.Size()+by))
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return err
	}
	b[len(b)/2] ^= 0x40
	return os.WriteFile(path, b, 0o600)
}

func TestMissingDatabase(t *testing.T) {
	dir := filled(t)
	if err := os.RemoveAll(filepath.Join(dir, dbDir)); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, dir, ErrDamaged, dbDir, "missing")
}
