package fs

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mount mounts a tree of the given children for the length of the test.
func mount(t *testing.T, cfg Config, children ...child) string {
	t.Helper()
	dirname := t.TempDir()
	cfg.Type, cfg.Name, cfg.Log = "imsfs-test", t.Name(), slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Mount(dirname, Root{&dir{list: func() []child { return children }}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Errorf("unmounting: %v", err)
			s.Detach()
		}
	})
	return dirname
}

func logTo(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func TestReadAheadIsRaised(t *testing.T) {
	at := mount(t, Config{ReadAhead: 4 << 20})
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != "4096" {
		t.Errorf("read_ahead_kb is %q, want 4096", got)
	}
}
