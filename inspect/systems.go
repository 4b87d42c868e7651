package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/system"
	"github.com/imsfs/imsfs/inspect/table"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Root is the root directory of an operating system.
type Root struct {
	Slice  *Slice
	Tree   tree.Tree
	Top    tree.ID
	Reason string // that it is one
	View   *system.View
	Fstab  []system.FstabLine
	Mounts []system.Joined
}

// Roots finds the roots of operating systems. The file systems that a root's fstab names are joined
// to its view, those of this disk only.
func (l *Layout) Roots(ctx context.Context) ([]Root, error) {
	var roots []Root
	for _, s := range l.Slices {
		t, err := s.Tree(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, disk.ErrBudget) {
				return roots, err
			}
			continue
		}
		ok, reason, err := system.IsRoot(ctx, t, t.Root())
		if err != nil {
			return roots, err
		}
		top := t.Root()
		if subvolumes, several := t.(tree.Subvolumer); several && !ok {
			top, ok, reason = rootSubvolume(ctx, t, subvolumes)
		}
		if !ok {
			continue
		}
		r := Root{Slice: s, Tree: t, Top: top, Reason: reason, View: system.NewView(t, top)}
		l.join(ctx, &r)
		roots = append(roots, r)
	}
	return roots, nil
}

// rootSubvolume looks for a root in the subvolumes that distributions use for it, and else in any
// that is not a snapshot.
func rootSubvolume(ctx context.Context, t tree.Tree, s tree.Subvolumer) (tree.ID, bool, string) {
	list, err := s.Subvolumes(ctx)
	if err != nil {
		return 0, false, ""
	}
	rank := func(v tree.Subvolume) int {
		return slices.Index([]string{"@", "root", "@/root"}, string(v.Path))
	}
	slices.SortStableFunc(list, func(a, b tree.Subvolume) int { return max(rank(b), -1) - max(rank(a), -1) })
	for _, v := range list {
		if v.ParentUUID != "" || v.ReadOnly {
			continue
		}
		if ok, reason, err := system.IsRoot(ctx, t, v.Root); err == nil && ok {
			return v.Root, true, fmt.Sprintf("in the subvolume %q %s", v.Path, reason)
		}
	}
	return 0, false, ""
}

// join mounts the entries of a root's fstab.
func (l *Layout) join(ctx context.Context, r *Root) {
	p, err := r.View.Read(ctx, "/etc/fstab")
	if err != nil {
		return
	}
	r.Fstab = system.ParseFstab(string(p))
	for _, line := range r.Fstab {
		if !strings.HasPrefix(line.At, "/") || pseudo(line.FSType) {
			continue
		}
		joined := system.Joined{At: line.At, Spec: line.Spec}
		if s := l.bySpec(ctx, line.Spec); s != nil {
			joined.Slice, joined.Found = s.ID, true
			if t, err := s.Tree(ctx); err == nil && line.At != "/" && s != r.Slice {
				r.View.Mount(line.At, t)
			}
		}
		r.Mounts = append(r.Mounts, joined)
	}
}

// pseudo reports whether a file system of that type needs no disk.
func pseudo(kind string) bool {
	switch kind {
	case "proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "cgroup", "cgroup2", "debugfs", "none", "swap", "nfs", "nfs4", "cifs",
		"securityfs", "hugetlbfs", "mqueue", "overlay", "fuse", "9p", "virtiofs", "efivarfs", "configfs":
		return true
	}
	return false
}

// bySpec returns the slice that the first field of an fstab line names, or nil.
func (l *Layout) bySpec(ctx context.Context, spec string) *Slice {
	for _, s := range l.Slices {
		if s.matches(ctx, spec) {
			return s
		}
	}
	return nil
}

func (s *Slice) matches(ctx context.Context, spec string) bool {
	for prefix, tag := range map[string]string{"/dev/disk/by-uuid/": "UUID=", "/dev/disk/by-label/": "LABEL=", "/dev/disk/by-partuuid/": "PARTUUID="} {
		if rest, ok := strings.CutPrefix(spec, prefix); ok {
			spec = tag + rest
		}
	}
	key, value, _ := strings.Cut(spec, "=")
	c := s.Content()
	label, uuid := c.Label, c.UUID
	if t, err := s.Tree(ctx); err == nil {
		label, uuid = t.Info().Label, t.Info().UUID
	}
	switch key {
	case "UUID":
		return uuid != "" && strings.EqualFold(uuid, value)
	case "LABEL":
		return label != "" && label == value
	case "PARTUUID":
		return s.Partition != nil && s.Partition.UUID != "" && strings.EqualFold(s.Partition.UUID, value)
	case "PARTLABEL":
		return s.Partition != nil && s.Partition.Name != "" && s.Partition.Name == value
	}
	if name, ok := strings.CutPrefix(spec, "/dev/mapper/"); ok {
		return s.Kind == LogicalVolume && strings.ReplaceAll(name, "--", "-") == s.ID
	}
	if name, ok := strings.CutPrefix(spec, "/dev/"); ok && s.Kind == LogicalVolume {
		return sameVolume(s.ID, name)
	}
	return false
}

// describe returns the system of each root, in their order.
func (l *Layout) describe(ctx context.Context, roots []Root) []system.System {
	systems := []system.System{}
	for _, r := range roots {
		s := system.Describe(ctx, r.View)
		s.Root, s.Reason, s.Mounts = r.Slice.ID, r.Reason, r.Mounts
		s.EOS = system.EndOfSupport(s.ID, s.Version)
		systems = append(systems, s)
	}
	return systems
}

// biosBoot reports whether there is boot code with all that a BIOS needs besides.
func (l *Layout) biosBoot() bool {
	place := l.Table.Kind == table.MBR
	for _, p := range l.Table.Partitions {
		place = place || p.Type == table.BIOSBoot || p.Bootable
	}
	return l.Table.BootCode && place
}

// boot looks at the partition table and the EFI system partitions.
func (l *Layout) boot(ctx context.Context) system.Boot {
	b := system.Boot{Modes: []string{}}
	if l.biosBoot() {
		b.Modes = append(b.Modes, "bios")
	}
	for _, s := range l.Slices {
		if s.Partition == nil || s.Partition.Type != table.EFISystem && s.Partition.Type != "0xef" {
			continue
		}
		t, err := s.Tree(ctx)
		if err != nil {
			continue
		}
		programs, err := system.EFIPrograms(ctx, t)
		if err == nil {
			b.EFI = append(b.EFI, programs...)
		}
	}
	if len(b.EFI) > 0 {
		b.Modes = append(b.Modes, "uefi")
	}
	b.Loader = loader(b.EFI)
	return b
}

func loader(programs []string) string {
	for _, p := range programs {
		switch p = strings.ToLower(p); {
		case strings.Contains(p, "grub") || strings.Contains(p, "shim"):
			return "grub"
		case strings.Contains(p, "systemd-boot"):
			return "systemd-boot"
		case strings.Contains(p, "bootmgfw"):
			return "windows"
		}
	}
	return ""
}
