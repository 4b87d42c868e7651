package lifecycle

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// The owner of a volume's disk is a user, and perhaps a group, that may write to the disk besides
// the daemon's user. For example, libvirt runs QEMU as such a user.

// ownerRule is the command.Rule for UID or UID:GID.
type ownerRule struct{}

// Words returns the form of an owner.
func (ownerRule) Words() string { return "UID or UID:GID, as numbers" }

// Check rejects any other form, names of users too: a name may mean another user in a container.
func (r ownerRule) Check(value string) error {
	if _, _, ok := parseOwner(value); !ok {
		return errors.New("must be " + r.Words())
	}
	return nil
}

// parseOwner returns the numbers of an owner. gid is -1 if the value has none.
func parseOwner(value string) (uid, gid int64, ok bool) {
	user, group, hasGroup := strings.Cut(value, ":")
	uid, ok = userNumber(user)
	if !hasGroup {
		return uid, -1, ok
	}
	gid, isNumber := userNumber(group)
	return uid, gid, ok && isNumber
}

// userNumber parses the number of a user or a group. The largest one is not a number of a user:
// chown(2) takes it for "no change".
func userNumber(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int64(n), err == nil && n != math.MaxUint32 && strconv.FormatUint(n, 10) == s
}

// Owner returns the user and the group of the disk; -1 stands for the daemon's.
func (v *Volume) Owner() (uid, gid int64) {
	if uid, gid, ok := parseOwner(v.record().Owner); ok {
		return uid, gid
	}
	return -1, -1
}
