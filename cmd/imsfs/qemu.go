package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// hardware is a virtual machine as QEMU is told of it.
type hardware struct {
	name   string
	disk   string   // a raw file, "" if there is none
	sector string   // the disk's logical sector size in bytes, "" for 512
	cdroms []string // raw files
	meta   map[string]string
	more   []string // the user's own arguments
}

// Where nobody says how much memory, in MiB: what a server of today boots with.
const usualMemory = "1024"

// describe reads the attributes that matter.
func (h *hardware) describe(dir string) error {
	h.meta = map[string]string{}
	for _, key := range []string{"arch", "firmware", "min_ram", "type"} {
		value, err := os.ReadFile(filepath.Join(dir, "meta", key))
		if err != nil {
			return err
		}
		h.meta[key] = strings.TrimSuffix(string(value), "\n")
	}
	return nil
}

// command is the command line that boots it.
func (h *hardware) command() ([]string, error) {
	if arch := h.meta["arch"]; arch != "" && arch != "x86_64" {
		return nil, fmt.Errorf("%s is for %s, and only x86_64 can be run", h.name, arch)
	}
	memory := h.meta["min_ram"]
	if memory == "" || memory == "0" {
		memory = usualMemory
	}
	// KVM if it works, and all that the processor, or QEMU in its place, can.
	words := []string{"qemu-system-x86_64", "-name", commas(h.name), "-machine", "q35,accel=kvm:tcg", "-cpu", "max", "-m", memory}
	if h.meta["firmware"] == "uefi" {
		code, vars, err := findFirmware(firmwares)
		if err != nil {
			return nil, err
		}
		words = append(words, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+commas(code),
			"-drive", "if=pflash,unit=1,format=raw,snapshot=on,file="+commas(vars)) // what it writes is forgotten
	}
	if h.disk != "" {
		words = append(words, h.diskOptions()...)
	}
	for _, cdrom := range h.cdroms {
		words = append(words, "-drive", "media=cdrom,format=raw,readonly=on,file="+commas(cdrom))
	}
	return append(words, h.more...), nil
}

// diskOptions returns the options for the disk. The size of its sectors is an option of the device,
// which if=virtio makes without one.
func (h *hardware) diskOptions() []string {
	const drive = "format=raw,cache=none,discard=unmap,file="
	if h.sector == "" {
		return []string{"-drive", "if=virtio," + drive + commas(h.disk)}
	}
	return []string{"-drive", "if=none,id=disk," + drive + commas(h.disk),
		"-device", "virtio-blk-pci,drive=disk,bootindex=0,logical_block_size=" + h.sector + ",physical_block_size=" + h.sector}
}

// firmwares are where distributions put UEFI for virtual machines: the program, and a template of its variables.
var firmwares = [][2]string{
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
	{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
}

func findFirmware(places [][2]string) (code, vars string, err error) {
	for _, p := range places {
		_, codeErr := os.Stat(p[0])
		_, varsErr := os.Stat(p[1])
		if codeErr == nil && varsErr == nil {
			return p[0], p[1], nil
		}
	}
	return "", "", errors.New("firmware is uefi, and there is none here for virtual machines: it is in Debian's package ovmf")
}

// commas doubles them, as QEMU wants it within an option.
func commas(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// shellCommand is a command for a shell, an option a line.
func shellCommand(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case strings.HasPrefix(w, "-"):
			b.WriteString(" \\\n    ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(shellWord(w))
	}
	return b.String()
}

// shellWord quotes a word for a shell.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,:=+@%", r)
	}
	if w != "" && !strings.ContainsFunc(w, plain) {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
