package system

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/inspect/tree"
)

// architecture reads the ELF header of the shell or the loader, and else the kernel's header.
func (s *System) architecture(ctx context.Context, v *View) {
	for _, path := range []string{"/bin/sh", "/usr/bin/sh", "/usr/bin/bash", "/usr/bin/dash", "/sbin/init", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"} {
		p, err := v.head(ctx, path, 64)
		s.note(err)
		if arch, bits := ELFArch(p); arch != "" {
			s.Arch, s.Bits, s.ArchFrom = arch, bits, path
			return
		}
	}
}

// head reads the first n bytes of a file, or as many as it has.
func (v *View) head(ctx context.Context, path string, n int64) ([]byte, error) {
	t, id, err := v.Find(ctx, path)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := t.Stat(ctx, id)
	if err != nil || a.Type() != tree.TypeFile {
		return nil, err
	}
	p := make([]byte, min(n, a.Size))
	read, err := t.ReadAt(ctx, id, p, 0)
	if read == len(p) {
		err = nil
	}
	return p[:read], err
}

// ELFArch returns the machine of an ELF header and its bits; "" if it is not one or not known.
func ELFArch(p []byte) (arch string, bits int) {
	if len(p) < 20 || !bytes.HasPrefix(p, []byte("\x7fELF")) {
		return "", 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if p[5] == 2 {
		order = binary.BigEndian
	}
	bits = 32
	if p[4] == 2 {
		bits = 64
	}
	switch order.Uint16(p[18:]) {
	case 0x03:
		return "i686", bits
	case 0x3e:
		return "x86_64", bits
	case 0x28:
		return "arm", bits
	case 0xb7:
		return "aarch64", bits
	case 0xf3:
		return "riscv64", bits
	case 0x15:
		return "ppc64", bits
	case 0x16:
		return "s390x", bits
	case 0x102:
		return "loongarch64", bits
	}
	return "", 0
}

// KernelArch returns the architecture of a kernel image by its header.
func KernelArch(p []byte) string {
	switch {
	case len(p) >= 0x206 && string(p[0x202:0x206]) == "HdrS":
		if len(p) >= 0x238 && p[0x236]&1 != 0 { // xloadflags: a 64-bit entry point
			return "x86_64"
		}
		return "i686"
	case len(p) >= 0x3c && string(p[0x38:0x3c]) == "ARM\x64":
		return "aarch64"
	}
	return ""
}
