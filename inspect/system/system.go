package system

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
)

// System is an operating system, in the form of the report.
type System struct {
	Root          string   `json:"root"` // a slice's ID
	Subvolume     string   `json:"subvolume,omitempty"`
	Reason        string   `json:"reason"`
	Mounts        []Joined `json:"mounts,omitempty"`
	ID            string   `json:"id"` // "debian"; "" if it is not known
	Version       string   `json:"version"`
	Name          string   `json:"name"`
	Arch          string   `json:"arch,omitempty"` // x86_64, aarch64, …
	ArchFrom      string   `json:"arch_from,omitempty"`
	Bits          int      `json:"bits,omitempty"`
	Hostname      string   `json:"hostname,omitempty"`
	Kernels       []Kernel `json:"kernels"`
	Init          string   `json:"init,omitempty"`
	PackageFormat string   `json:"package_format,omitempty"`
	// PackagesTotal is nil if the database is not understood. It is never 0 for that reason.
	PackagesTotal *int     `json:"packages_total,omitempty"`
	EOS           EOS      `json:"eos"`
	Notes         []string `json:"notes,omitempty"`
}

// Joined is a mount of the fstab.
type Joined struct {
	At    string `json:"at"`
	Spec  string `json:"spec"`
	Slice string `json:"slice,omitempty"`
	Found bool   `json:"found"`
}

// Describe reads everything that is known of the system of a view.
func Describe(ctx context.Context, v *View) System {
	s := System{Kernels: []Kernel{}}
	s.release(ctx, v)
	s.architecture(ctx, v)
	if p, err := v.Read(ctx, "/etc/hostname"); err == nil {
		s.Hostname = strings.TrimSpace(firstLine(string(p)))
	}
	s.kernels(ctx, v)
	for _, init := range []struct{ path, name string }{
		{"/lib/systemd/systemd", "systemd"}, {"/usr/lib/systemd/systemd", "systemd"}, {"/sbin/openrc-init", "openrc"},
		{"/sbin/openrc", "openrc"}, {"/etc/inittab", "sysvinit"}, {"/sbin/upstart", "upstart"},
	} {
		if ok, err := v.Exists(ctx, init.path); err == nil && ok {
			s.Init = init.name
			break
		}
	}
	s.packages(ctx, v)
	return s
}

func (s *System) note(err error) {
	if damaged(err) && len(s.Notes) < 32 {
		s.Notes = append(s.Notes, err.Error())
	}
}

var releaseVersion = regexp.MustCompile(`release (\d+(\.\d+)?)`)

// release reads os-release, and release files for older systems and exact versions.
func (s *System) release(ctx context.Context, v *View) {
	p, err := v.Read(ctx, "/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		p, err = v.Read(ctx, "/usr/lib/os-release")
	}
	s.note(err)
	fields := ParseRelease(string(p))
	s.ID, s.Version, s.Name = fields["ID"], fields["VERSION_ID"], fields["PRETTY_NAME"]
	if s.Name == "" {
		s.Name = fields["NAME"]
	}
	redhat, err := v.Read(ctx, "/etc/redhat-release")
	s.note(err)
	if m := releaseVersion.FindStringSubmatch(string(redhat)); m != nil && (s.Version == "" || strings.HasPrefix(m[1], s.Version+".")) {
		s.Version = m[1]
		if s.ID == "" {
			s.Name = firstLine(string(redhat))
			s.ID = "rhel"
			if strings.HasPrefix(s.Name, "CentOS") {
				s.ID = "centos"
			}
		}
	}
	if s.ID == "debian" || s.ID == "" {
		p, err := v.Read(ctx, "/etc/debian_version")
		s.note(err)
		if text := firstLine(string(p)); s.ID == "debian" && strings.HasPrefix(text, s.Version+".") {
			s.Version = text
		} else if s.ID == "" && text != "" {
			s.ID, s.Version, s.Name = "debian", text, "Debian GNU/Linux "+text
		}
	}
}

// ParseRelease reads the KEY=VALUE lines of an os-release file. Quotes are removed as a shell does
// it, but nothing is expanded.
func ParseRelease(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") || len(fields) > 256 {
			continue
		}
		fields[key] = unquote(value)
	}
	return fields
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		double := s[0] == '"'
		s = s[1 : len(s)-1]
		if double {
			s = strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`").Replace(s)
		}
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

// FstabLine is an entry of an fstab.
type FstabLine struct {
	Number           int
	Spec, At, FSType string
	Options          []string
}

// Has reports whether the entry has an option.
func (l FstabLine) Has(option string) bool {
	for _, o := range l.Options {
		if o == option || strings.HasPrefix(o, option+"=") {
			return true
		}
	}
	return false
}

// Value returns the value of an option "key=value", or "".
func (l FstabLine) Value(key string) string {
	for _, o := range l.Options {
		if value, ok := strings.CutPrefix(o, key+"="); ok {
			return value
		}
	}
	return ""
}

// ParseFstab reads the entries of an fstab.
func ParseFstab(text string) []FstabLine {
	var list []FstabLine
	number := 0
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`)
	for line := range strings.Lines(text) {
		number++
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || len(list) == 1024 {
			continue
		}
		l := FstabLine{Number: number, Spec: unquoteTag(unescape.Replace(f[0])), At: unescape.Replace(f[1]), FSType: f[2]}
		if len(f) > 3 {
			l.Options = strings.Split(f[3], ",")
		}
		list = append(list, l)
	}
	return list
}

// unquoteTag removes the quotes that UUID="…" may have.
func unquoteTag(spec string) string {
	key, value, ok := strings.Cut(spec, "=")
	if !ok {
		return spec
	}
	return key + "=" + strings.Trim(value, `"'`)
}
