package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describe returns the machine, time and data of the figures.
func describe(ctx context.Context) ([]fact, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	memory, err := procBytes("/proc/meminfo", "MemTotal")
	if err != nil {
		return nil, err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	commit, err := revision(ctx)
	if err != nil {
		return nil, err
	}
	peer, err := output(command(ctx, "qemu-storage-daemon", "--version"))
	if err != nil {
		return nil, err
	}
	peer, _, _ = strings.Cut(peer, "\n")
	return []fact{
		{"date", time.Now().UTC().Format("2006-01-02 15:04 UTC")},
		{"commit", commit},
		{"machine", fmt.Sprintf("%s, %d cores, %s of memory, Linux %s", cpuModel(), runtime.NumCPU(), bytesText(memory), unix.ByteSliceToString(uts.Release[:]))},
		{"load before", strings.Join(strings.Fields(string(load))[:3], " ")},
		{"compiler", runtime.Version()},
		{"peer", peer},
	}, nil
}

func revision(ctx context.Context) (string, error) {
	commit, err := output(command(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12"))
	return strings.TrimSpace(commit), err
}

func cpuModel() string {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
