// Package command holds the lines that images, volumes and the store take, and their callers.
package command

// Actor is the process that makes a request, as the kernel reports it. The zero value stands for
// the daemon itself.
type Actor struct{ UID, GID, PID uint32 }

// Call is one command line and the process that wrote it.
type Call struct {
	Line string
	By   Actor
}
