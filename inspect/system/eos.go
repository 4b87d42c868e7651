package system

import (
	_ "embed"
	"strings"
)

//go:embed eos.csv
var eosTable string

// EOS is the end of a system's support, dates as YYYY-MM-DD. All fields are empty for a version
// that the table does not have: an unlisted version is unknown, and never supported by default.
type EOS struct {
	Date     string `json:"date,omitempty"`
	Extended string `json:"extended,omitempty"`
	Version  string `json:"version,omitempty"` // of the table's line
}

// EndOfSupport looks up a version: as it is, and else without its last number, so that 12.4 of a
// distribution with lines for 12 is found there.
func EndOfSupport(id, version string) EOS {
	for {
		for line := range strings.Lines(eosTable) {
			f := strings.Split(strings.TrimSpace(line), ",")
			if len(f) == 4 && f[0] == id && f[1] == version {
				return EOS{Date: f[2], Extended: f[3], Version: version}
			}
		}
		cut := strings.LastIndexByte(version, '.')
		if cut < 0 || id == "sles" || id == "ubuntu" || id == "freebsd" || strings.HasPrefix(id, "opensuse") {
			return EOS{}
		}
		version = version[:cut]
	}
}

// Ended reports whether all support has ended on a day, YYYY-MM-DD. It is false for an unknown
// version.
func (e EOS) Ended(today string) bool { return e.Date != "" && max(e.Date, e.Extended) < today }
