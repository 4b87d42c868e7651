package fs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// actor returns who makes a request. The kernel gives the number of the thread, not of its process.
func actor(ctx context.Context) command.Actor {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return command.Actor{}
	}
	return command.Actor{UID: c.Uid, GID: c.Gid, PID: c.Pid}
}

// process returns the process that makes a request; zero if it cannot be seen from here, for
// example because it lives in another PID namespace.
func process(ctx context.Context) command.Process {
	thread := actor(ctx).PID
	if thread == 0 {
		return command.Process{}
	}
	status, err := procStatus(thread)
	if err != nil {
		return command.Process{}
	}
	pid := status.number("Tgid:", 10)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return command.Process{}
	}
	// The second field is the program's name in parentheses, which may have blanks; field 22 is the
	// time at which the process started.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return command.Process{}
	}
	started, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return command.Process{}
	}
	return command.Process{PID: uint32(pid), Started: started}
}

// status is the text that the kernel shows of a thread.
type status []byte

func procStatus(thread uint32) (status, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
}

// number returns the number that follows a key; 0 if there is none.
func (s status) number(key string, base int) uint64 {
	for line := range bytes.Lines(s) {
		if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), base, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
