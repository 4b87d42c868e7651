package output

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
)

// TestPreallocatedOutput: the file that the command writes takes all its space, and keeps its bytes.
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
