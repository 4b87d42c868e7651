// Package check judges whether a disk is fit for import into a cloud: one function a code, each
// with the evidence for its result. A check whose evidence could not be read is unknown; it never
// passes because something is absent.
package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/imsfs/imsfs/inspect/system"
)

// Result is the outcome of a check.
type Result string

const (
	Pass    Result = "pass"
	Fail    Result = "fail"
	Warn    Result = "warn"
	Unknown Result = "unknown"
)

// Finding is a check's result, in the form of the report.
type Finding struct {
	Code     string     `json:"code"`
	Result   Result     `json:"result"`
	Text     string     `json:"text"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence is a place that led to a result.
type Evidence struct {
	Path  string `json:"path"`
	Line  int    `json:"line,omitempty"`
	Value string `json:"value,omitempty"`
}

// Subject is a disk with its operating system.
type Subject struct {
	System system.System
	View   *system.View
	Fstab  []system.FstabLine
	Boot   system.Boot
	Slices []Slice
	Size   int64
	GPT    bool
	// BIOSBoot reports whether there is a place for a BIOS loader: boot code, and on GPT a
	// partition for it.
	BIOSBoot bool
	Today    string // YYYY-MM-DD
	// Other is the root without replayed logs, as a boot loader sees it; nil if it is the same.
	Other *system.View
}

// Slice are the facts of a slice that checks need.
type Slice struct {
	ID, Type, State string // content's type and state
	Encrypted       bool
	Volume          bool // a logical volume, or a member of one
	Notes           []string
}

// Run makes all checks, in the order of their codes' table.
func Run(ctx context.Context, s Subject) []Finding {
	var list []Finding
	for _, c := range []struct {
		code string
		run  func(context.Context, Subject) Finding
	}{
		{"FSTAB-UUID", fstabUUID}, {"FSTAB-DATA", fstabData}, {"GRUB-UUID", grubUUID}, {"VIRTIO", virtio}, {"KERNEL", kernel},
		{"NETRULES", netRules}, {"DHCP", dhcp}, {"CLOUDINIT", cloudInit}, {"CLEAN", clean}, {"PASSWORD", password},
		{"LVM", lvm}, {"CRYPT", crypt}, {"ONEDISK", oneDisk}, {"FIRMWARE", firmware}, {"BOOT-JOURNAL", bootJournal},
		{"FSCLEAN", fsClean}, {"SIZE", size}, {"EOS", eos}, {"DRIVERS-VMW", vmware},
	} {
		f := c.run(ctx, s)
		f.Code = c.code
		list = append(list, f)
	}
	return list
}

func pass(format string, args ...any) Finding {
	return Finding{Result: Pass, Text: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) Finding {
	return Finding{Result: Fail, Text: fmt.Sprintf(format, args...)}
}

func warn(format string, args ...any) Finding {
	return Finding{Result: Warn, Text: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Finding {
	return Finding{Result: Unknown, Text: fmt.Sprintf(format, args...)}
}

func (f Finding) with(e ...Evidence) Finding {
	f.Evidence = append(f.Evidence, e...)
	return f
}

// missing reports whether a file is not there, as opposed to unreadable.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// windows reports whether the checks of Linux files do not apply.
func (s Subject) windows() bool { return s.System.ID == "windows" }
