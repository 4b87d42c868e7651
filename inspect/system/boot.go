package system

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/imsfs/imsfs/inspect/tree"
)

// Boot is how a disk can boot.
type Boot struct {
	Modes  []string `json:"modes"` // "bios", "uefi"
	Loader string   `json:"loader,omitempty"`
	EFI    []string `json:"efi,omitempty"` // programs on the EFI system partition
}

const maxEFI = 64

// EFIPrograms lists the programs on an EFI system partition, and the loader that their directories
// name.
func EFIPrograms(ctx context.Context, t tree.Tree) (programs []string, err error) {
	v := NewView(t, t.Root())
	efi, err := named(ctx, v, "", "EFI")
	if err != nil || efi == "" {
		return nil, err
	}
	dirs, err := v.List(ctx, efi)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		files, err := v.List(ctx, efi+"/"+dir)
		if err != nil {
			return programs, err
		}
		for _, name := range files {
			if strings.HasSuffix(strings.ToLower(name), ".efi") && len(programs) < maxEFI {
				programs = append(programs, strings.TrimPrefix(efi, "/")+"/"+dir+"/"+name)
			}
		}
	}
	return programs, nil
}

// named returns the path of a name in a directory, compared without case.
func named(ctx context.Context, v *View, dir, name string) (string, error) {
	names, err := v.List(ctx, dir+"/")
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return dir + "/" + n, nil
		}
	}
	return "", err
}

// Fallback reports whether programs have the one that firmware starts by itself.
func Fallback(programs []string) bool {
	for _, p := range programs {
		switch p = strings.ToUpper(p); {
		case strings.HasSuffix(p, "/BOOT/BOOTX64.EFI"), strings.HasSuffix(p, "/BOOT/BOOTAA64.EFI"), strings.HasSuffix(p, "/BOOT/BOOTIA32.EFI"):
			return true
		}
	}
	return false
}

// PEArch returns the architecture of an EFI program by its PE header.
func PEArch(p []byte) string {
	if len(p) < 0x40 || string(p[:2]) != "MZ" {
		return ""
	}
	at := int64(binary.LittleEndian.Uint32(p[0x3c:]))
	if at+6 > int64(len(p)) || string(p[at:at+4]) != "PE\x00\x00" {
		return ""
	}
	switch binary.LittleEndian.Uint16(p[at+4:]) {
	case 0x8664:
		return "x86_64"
	case 0xaa64:
		return "aarch64"
	case 0x14c:
		return "i686"
	}
	return ""
}
