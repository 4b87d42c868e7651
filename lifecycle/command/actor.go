package command

// Actor is the process that made a call. The zero value is the daemon itself.
type Actor struct{ UID, GID, PID uint32 }

// Call is one command line and its maker.
type Call struct {
	Line string
	By   Actor
}
