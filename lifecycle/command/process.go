package command

// Process identifies a process for as long as the machine runs: a number is given to another
// process later, a number and a start time are not. The zero value stands for a process that
// could not be identified, and equals no process.
type Process struct {
	PID     uint32
	Started uint64 // in the kernel's clock ticks since boot
}

// Same reports whether p and q are one process.
func (p Process) Same(q Process) bool { return p != Process{} && p == q }
