package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPaceLine(t *testing.T) {
	start := time.Unix(1000, 0)
	tests := []struct {
		name        string
		done, total int64
		elapsed     time.Duration
		want        string
	}{
		{"nothing known", 0, 0, 0, "no data"},
		{"at the start", 0, 1 << 30, 0, "0 % of 1.0 GiB"},
		{"stuck", 0, 1 << 30, time.Minute, "0 % of 1.0 GiB"},
		{"half-way", 1 << 29, 1 << 30, 4 * time.Second, "50 % of 1.0 GiB, 128 MiB/s, 4s left"},
		{"nearly", 1<<30 - 1, 1 << 30, 4 * time.Second, "99 % of 1.0 GiB, 256 MiB/s, 0s left"},
		{"done", 1 << 30, 1 << 30, 4 * time.Second, "100 % of 1.0 GiB, 256 MiB/s, took 4s"},
		{"a disk of the largest size", 1 << 59, 1 << 60, time.Hour, "50 % of 1.0 EiB, 146 TiB/s, 1h0m0s left"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (pace{start, tt.done, tt.total}).line(start.Add(tt.elapsed)); got != tt.want {
				t.Errorf("line = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProgressLinesComeNowAndThen(t *testing.T) {
	c := newConsole()
	now := time.Unix(1000, 0)
	c.now = func() time.Time { return now }
	p := newProgress(c.environment, "convert")
	for done := int64(0); done <= 20; done++ {
		p.report(done<<20, 20<<20)
		now = now.Add(time.Second)
	}
	p.end()
	want := `imsfs: convert: 25 % of 20 MiB, 1.0 MiB/s, 15s left
imsfs: convert: 50 % of 20 MiB, 1.0 MiB/s, 10s left
imsfs: convert: 75 % of 20 MiB, 1.0 MiB/s, 5s left
imsfs: convert: 100 % of 20 MiB, 975 KiB/s, took 21s
`
	if c.err.String() != want {
		t.Errorf("lines\n%swant\n%s", &c.err, want)
	}
}

func TestProgressBarOnATerminal(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 8<<20, extent{0, 2 << 20})
	for _, args := range [][]string{
		{"convert", "-p", "-O", "raw", src, filepath.Join(dir, "dst")},
		{"compare", "-p", src, src},
	} {
		c := newConsole()
		c.terminal = true
		c.expect(t, 0, args...)
		last := c.err.String()[strings.LastIndex(c.err.String(), args[0]+" "):]
		if !strings.Contains(last, "100 % of 2.0 MiB") || !strings.Contains(last, "[") {
			t.Errorf("%s: the last bar is %q, want it full", args[0], last)
		}
	}
}
