package system

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// Kernel is a kernel that the disk may boot.
type Kernel struct {
	Version string `json:"version"`
	Image   string `json:"image,omitempty"` // path; "" if only its modules are there
	Initrd  string `json:"initrd,omitempty"`
	// Default marks the kernel that the boot loader most probably starts: the one /vmlinuz links
	// to, or the highest version.
	Default bool `json:"default,omitempty"`
	// Virtio are the virtio drivers that are built in or in the initramfs. It is nil if that is
	// unknown.
	Virtio []string `json:"virtio"`
	// VirtioFrom are the files that say so.
	VirtioFrom []string `json:"virtio_from,omitempty"`
}

const maxKernels = 32

// kernels lists the images in /boot and the module directories.
func (s *System) kernels(ctx context.Context, v *View) {
	names, err := v.List(ctx, "/boot")
	s.note(err)
	slices.Sort(names)
	for _, name := range names {
		for _, prefix := range []string{"vmlinuz-", "vmlinux-", "Image-", "kernel-"} {
			version, ok := strings.CutPrefix(name, prefix)
			if ok && version != "" && !strings.Contains(version, "rescue") && len(s.Kernels) < maxKernels {
				s.Kernels = append(s.Kernels, Kernel{Version: version, Image: "/boot/" + name, Initrd: initrd(names, version)})
			}
		}
	}
	modules, err := v.List(ctx, "/usr/lib/modules")
	s.note(err)
	if len(modules) == 0 {
		modules, err = v.List(ctx, "/lib/modules")
		s.note(err)
	}
	slices.Sort(modules)
	for _, version := range modules {
		if !s.hasKernel(version) && len(s.Kernels) < maxKernels {
			k := Kernel{Version: version}
			if ok, err := v.Exists(ctx, "/usr/lib/modules/"+version+"/vmlinuz"); err == nil && ok {
				k.Image = "/usr/lib/modules/" + version + "/vmlinuz"
			}
			s.Kernels = append(s.Kernels, k)
		}
	}
	slices.SortStableFunc(s.Kernels, func(a, b Kernel) int { return CompareVersions(b.Version, a.Version) })
	for i := range s.Kernels {
		s.virtio(ctx, v, &s.Kernels[i])
	}
	s.markDefault()
	if s.Arch == "" && len(s.Kernels) > 0 && s.Kernels[0].Image != "" {
		p, err := v.head(ctx, s.Kernels[0].Image, 1024)
		s.note(err)
		if s.Arch = KernelArch(p); s.Arch != "" {
			s.ArchFrom = s.Kernels[0].Image
		}
	}
}

func (s *System) hasKernel(version string) bool {
	return slices.ContainsFunc(s.Kernels, func(k Kernel) bool { return k.Version == version })
}

func initrd(names []string, version string) string {
	for _, name := range []string{"initrd.img-" + version, "initramfs-" + version + ".img", "initrd-" + version, "initramfs-" + version} {
		if slices.Contains(names, name) {
			return "/boot/" + name
		}
	}
	return ""
}

// markDefault marks the highest version that has an image.
func (s *System) markDefault() {
	for i := range s.Kernels {
		if s.Kernels[i].Image != "" {
			s.Kernels[i].Default = true
			return
		}
	}
}

// CompareVersions orders versions by their numbers: 5.9 comes before 5.10.
func CompareVersions(a, b string) int {
	for a != "" && b != "" {
		na, ra := leading(a)
		nb, rb := leading(b)
		if na >= 0 && nb >= 0 {
			if na != nb {
				return na - nb
			}
			a, b = ra, rb
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// leading returns the number that s begins with, or -1.
func leading(s string) (int, string) {
	end := 0
	for end < len(s) && end < 9 && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 {
		return -1, s
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return -1, s
	}
	return n, s[end:]
}
