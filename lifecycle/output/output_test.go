package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
)

// TestHiddenOutput: where a file cannot be without a name, it has one that is hidden until it is
// committed.
func TestHiddenOutput(t *testing.T) {
	for _, tt := range []struct{ exists, force, refused bool }{{}, {exists: true, refused: true}, {exists: true, force: true}, {force: true}} {
		dir := t.TempDir()
		o := &File{path: filepath.Join(dir, "dst"), force: tt.force}
		if err := o.openHidden(); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); !strings.HasPrefix(got, ".dst.") {
			t.Errorf("%+v: the directory holds %s", tt, got)
		}
		if _, err := o.WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
		want := "new"
		if tt.exists {
			if err := os.WriteFile(o.path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if tt.refused {
			want = "old"
		}
		if err := o.Commit(); (err != nil) != tt.refused {
			t.Errorf("%+v: %v", tt, err)
		}
		o.Discard()
		b, err := os.ReadFile(o.path)
		if err != nil || string(b) != want || names(t, dir) != "dst" {
			t.Errorf("%+v: %q, %v, the directory holds %s", tt, b, err, names(t, dir))
		}
	}
}

// TestPreallocatedOutput: the file that the command writes takes all its space, and keeps its
// bytes.
func TestPreallocatedOutput(t *testing.T) {
	const size = 5<<20 + 512
	for value, least := range map[string]int64{"off": 0, "full": size} {
		path := filepath.Join(t.TempDir(), "disk.raw")
		dst, err := Create(path, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Discard()
		if _, err := dst.WriteAt([]byte("data"), 3<<20); err != nil {
			t.Fatal(err)
		}
		enc, err := raw.Driver{}.Create(size, formats.CreateOptions{Set: map[string]string{"preallocation": value}})
		if err != nil {
			t.Fatal(err)
		}
		if err := enc.Finish(t.Context(), dst); err != nil {
			t.Fatal(err)
		}
		if err := dst.Commit(); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if taken := st.Blocks * 512; st.Size != size || taken < least || least == 0 && taken > 1<<20 {
			t.Errorf("%s: %d bytes take %d", value, st.Size, taken)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b[3<<20:3<<20+5]) != "data\x00" {
			t.Errorf("%s: %q, %v", value, b[3<<20:3<<20+5], err)
		}
	}
}

// names lists what a directory holds.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}
