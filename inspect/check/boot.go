package check

import (
	"bytes"
	"context"
	"strings"

	"github.com/imsfs/imsfs/inspect/system"
)

func virtio(_ context.Context, s Subject) Finding {
	if s.windows() {
		return unknown("drivers of Windows are not looked at")
	}
	result := unknown("no kernel was found")
	for _, k := range s.System.Kernels {
		if k.Image == "" {
			continue
		}
		one := virtioOf(k)
		switch {
		case k.Default || result.Result == Unknown && len(result.Evidence) == 0:
			result = one
		case one.Result == Fail && result.Result == Pass:
			result = warn("%s, which is not the default kernel", one.Text).with(one.Evidence...)
		}
	}
	return result
}

func virtioOf(k system.Kernel) Finding {
	e := Evidence{Path: k.Image, Value: strings.Join(k.Virtio, " ")}
	if k.Virtio == nil {
		return unknown("kernel %s: its drivers could not be read", k.Version).with(e)
	}
	var absent []string
	for _, d := range system.VirtioDrivers() {
		if !strings.Contains(" "+e.Value+" ", " "+d+" ") {
			absent = append(absent, d)
		}
	}
	switch {
	case len(absent) == 0:
		return pass("kernel %s has all virtio drivers", k.Version).with(e)
	case k.Initrd == "":
		return unknown("kernel %s: no initramfs was found for it, and %s are not built in", k.Version, strings.Join(absent, " ")).with(e)
	}
	return fail("kernel %s boots without %s; add them to the initramfs", k.Version, strings.Join(absent, " ")).with(e)
}

func kernel(_ context.Context, s Subject) Finding {
	for _, k := range s.System.Kernels {
		if !k.Default {
			continue
		}
		if system.CompareVersions(k.Version, "2.6.25") < 0 {
			return fail("kernel %s is older than 2.6.25", k.Version)
		}
		return pass("kernel %s", k.Version)
	}
	return unknown("no kernel was found")
}

func firmware(_ context.Context, s Subject) Finding {
	uefi := system.Fallback(s.Boot.EFI)
	arm := s.System.Arch == "aarch64"
	switch {
	case arm && !uefi:
		return fail("an ARM system needs UEFI, and there is no EFI/BOOT/BOOTAA64.EFI")
	case uefi && s.BIOSBoot:
		return pass("it boots by UEFI and by BIOS")
	case uefi:
		return pass("it boots by UEFI")
	case len(s.Boot.EFI) > 0 && !s.BIOSBoot:
		return warn("the EFI partition lacks EFI/BOOT/BOOTX64.EFI, which firmware starts without settings of its own")
	case s.BIOSBoot:
		return pass("it boots by BIOS")
	}
	return fail("neither a BIOS boot loader nor an EFI program was found")
}

// bootJournal compares the boot files with and without the replay of logs, because boot loaders do
// not replay.
func bootJournal(ctx context.Context, s Subject) Finding {
	if s.Other == nil {
		for _, slice := range s.Slices {
			if slice.State == "dirty" {
				return unknown("the log of %s is not replayed, so the two states cannot be compared", slice.ID)
			}
		}
		return pass("no log needs a replay")
	}
	files := bootFiles(ctx, s)
	for _, k := range s.System.Kernels {
		if k.Default {
			files = append(files, k.Image, k.Initrd)
		}
	}
	for _, path := range files {
		if path == "" {
			continue
		}
		with, err1 := s.View.Read(ctx, path)
		without, err2 := s.Other.Read(ctx, path)
		switch {
		case missing(err1) && missing(err2):
		case missing(err1) != missing(err2) || err1 == nil && err2 == nil && !bytes.Equal(with, without):
			return warn("%s is only right after the log is replayed, which boot loaders do not do; start and stop the system once", path).
				with(Evidence{Path: path})
		case err1 != nil || err2 != nil:
			return unknown("%s cannot be compared: %v, %v", path, err1, err2)
		}
	}
	return pass("the boot files are the same with and without the log")
}

func fsClean(_ context.Context, s Subject) Finding {
	bad := pass("every file system is clean or its log could be replayed")
	for _, slice := range s.Slices {
		if slice.State == "damaged" || slice.State == "dirty" {
			if bad.Result == Pass {
				bad = warn("a file system needs a repair")
			}
			bad = bad.with(Evidence{Path: slice.ID, Value: slice.Type + " " + slice.State})
		}
	}
	return bad
}

func lvm(_ context.Context, s Subject) Finding {
	for _, slice := range s.Slices {
		if slice.Volume {
			return warn("the disk uses LVM or RAID").with(Evidence{Path: slice.ID, Value: slice.Type})
		}
	}
	return pass("no LVM and no RAID")
}

func crypt(_ context.Context, s Subject) Finding {
	for _, slice := range s.Slices {
		if slice.Encrypted {
			return fail("%s is encrypted", slice.ID).with(Evidence{Path: slice.ID, Value: slice.Type})
		}
	}
	return pass("nothing is encrypted")
}

func oneDisk(_ context.Context, s Subject) Finding {
	if len(s.Boot.Modes) == 0 && !s.BIOSBoot {
		return warn("the root is on this disk, but no boot loader was found")
	}
	return pass("boot loader and root are on this disk")
}

func size(_ context.Context, s Subject) Finding {
	const gib = 1 << 30
	if s.Size > 1024*gib {
		return warn("the disk has %d GiB, more than 1024", s.Size/gib)
	}
	return pass("the disk has %d bytes", s.Size)
}

func eos(_ context.Context, s Subject) Finding {
	e := s.System.EOS
	name := s.System.ID + " " + s.System.Version
	switch {
	case e.Date == "":
		return unknown("the end of support of %s is not known here", name)
	case e.Ended(s.Today):
		return warn("support of %s ended on %s", name, max(e.Date, e.Extended))
	}
	return pass("%s is supported until %s", name, max(e.Date, e.Extended))
}
