package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// toQcow2 writes a disk as the peer reads it.
func toQcow2(ctx context.Context, raw, qcow2 string) *exec.Cmd {
	return command(ctx, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", raw, qcow2)
}

// peer serves a qcow2 image by a qemu-storage-daemon of its own, read-only.
func (b *bench) peer(ctx context.Context, image string) (served, error) {
	return b.export(ctx,
		"--blockdev", "node-name=f,driver=file,read-only=on,filename="+image,
		"--blockdev", "node-name=q,driver=qcow2,read-only=on,file=f",
		"--export", "writable=off")
}

// export serves the node q that the arguments describe. The last argument describes the export.
func (b *bench) export(ctx context.Context, args ...string) (served, error) {
	dir, err := os.MkdirTemp(b.dir, "peer-")
	if err != nil {
		return served{}, err
	}
	disk, pidfile := filepath.Join(dir, "disk"), filepath.Join(dir, "pid")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		return served{}, err
	}
	args[len(args)-1] = "type=fuse,id=e,node-name=q,mountpoint=" + disk + "," + args[len(args)-1]
	// It leaves this process, once it serves, to a child that says its number in a file.
	_, err = output(command(ctx, "qemu-storage-daemon", append(args, "--pidfile", pidfile, "--daemonize")...))
	if err != nil {
		return served{}, errors.Join(err, detach(disk), os.RemoveAll(dir))
	}
	pid, pidfd, err := openPidfile(pidfile)
	if err != nil {
		return served{}, err
	}
	stop := func() error {
		return errors.Join(terminate(pidfd), unix.Close(pidfd), detach(disk), os.RemoveAll(dir))
	}
	return served{disk, pid, stop}, nil
}

func openPidfile(path string) (pid, pidfd int, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(content))); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	pidfd, err = unix.PidfdOpen(pid, 0)
	return pid, pidfd, err
}
