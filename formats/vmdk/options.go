package vmdk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/imsfs/imsfs/formats"
)

// Keys of CreateOptions.Set and the values they may have; the first is the default.
const (
	subformatOption = "subformat"
	adapterOption   = "adapter_type"
	hwVersionOption = "hwversion"

	monolithicSparse = "monolithicSparse"
	streamOptimized  = "streamOptimized"
)

var _ formats.Creator = (*Driver)(nil)

func subformats() []string { return []string{monolithicSparse, streamOptimized} }
func adapters() []string   { return []string{"ide", "buslogic", "lsilogic", "legacyESX"} }

const (
	defaultHWVersion = "4"
	maxFileName      = 255 // bytes, as Linux has it
)

func (*Driver) Options() []formats.Option {
	return []formats.Option{
		{Key: subformatOption, Help: "monolithicSparse, for virtual machines, or streamOptimized, compressed for transport; monolithicSparse if not given"},
		{Key: adapterOption, Help: "ide, buslogic, lsilogic or legacyESX; ide if not given"},
		{Key: hwVersionOption, Help: "version of VMware's virtual hardware; 4 if not given"},
		formats.UUIDOption(),
	}
}

// choices are what CreateOptions.Set says.
type choices struct{ subformat, adapter, hwVersion string }

func parseOptions(opts formats.CreateOptions) (choices, error) {
	if err := formats.CheckSet(name, (*Driver)(nil).Options(), opts.Set); err != nil {
		return choices{}, err
	}
	c := choices{hwVersion: defaultHWVersion}
	var err error
	if c.subformat, err = oneOf(opts, subformatOption, subformats()); err != nil {
		return c, err
	}
	if c.adapter, err = oneOf(opts, adapterOption, adapters()); err != nil {
		return c, err
	}
	if v, ok := opts.Set[hwVersionOption]; ok {
		if len(v) == 0 || len(v) > 9 || strings.Trim(v, "0123456789") != "" {
			return c, fmt.Errorf("vmdk: %s=%q: must be a number", hwVersionOption, v)
		}
		c.hwVersion = v
	}
	if c.subformat == monolithicSparse && opts.Level != 0 {
		return c, fmt.Errorf("vmdk: compression level %d: %s is not compressed, %s is", opts.Level, monolithicSparse, streamOptimized)
	}
	return c, nil
}

// oneOf is the value of an option, the first of those that may be if it is not given.
func oneOf(opts formats.CreateOptions, key string, values []string) (string, error) {
	v, ok := opts.Set[key]
	switch {
	case !ok:
		return values[0], nil
	case slices.Contains(values, v):
		return v, nil
	}
	return "", fmt.Errorf("vmdk: %s=%q: must be one of %s", key, v, strings.Join(values, ", "))
}

// fresh is the CID of a disk that was never written to, as VMware's tools have it.
const fresh = 0xfffffffe

// contentID makes a CID of the UUID that the caller chose.
func contentID(uuid [16]byte) uint32 {
	if id := binary.BigEndian.Uint32(uuid[:]); uuid != [16]byte{} && id != noParent {
		return id
	}
	return fresh
}

// descriptorText is the descriptor of a disk of so many sectors. Some readers, such as libvmdk,
// look for its extent by the name.
func (c choices) descriptorText(sectors uint64, opts formats.CreateOptions) string {
	heads := uint64(255)
	if c.adapter == "ide" {
		heads = 16
	}
	var b strings.Builder
	file, coding := extentName(opts.Name), ""
	if !isASCII(file) {
		coding = "encoding=\"UTF-8\"\n"
	}
	fmt.Fprintf(&b, "%s\nversion=1\n%sCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n\n", firstLine, coding, contentID(opts.UUID), uint32(noParent), c.subformat)
	fmt.Fprintf(&b, "# Extent description\nRW %d SPARSE \"%s\"\n\n# The Disk Data Base\n#DDB\n\n", sectors, file)
	entries := [][2]string{
		{"virtualHWVersion", c.hwVersion},
		{"geometry.cylinders", fmt.Sprint(sectors / (63 * heads))},
		{"geometry.heads", fmt.Sprint(heads)},
		{"geometry.sectors", "63"},
		{"adapterType", c.adapter},
		{"toolsVersion", "2147483647"},
	}
	if opts.UUID != [16]byte{} {
		entries = append(entries, [2]string{"uuid", formatUUID(opts.UUID)})
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "ddb.%s = \"%s\"\n", e[0], e[1])
	}
	return b.String()
}

// extentName is the file's own name, or another where a descriptor cannot have it.
func extentName(file string) string {
	if _, ok := textOf([]byte(file)); file == "" || !ok || !utf8.ValidString(file) || strings.ContainsAny(file, "\"\r\n\t\x00") || len(file) > maxFileName {
		return "disk.vmdk"
	}
	return file
}

// formatUUID writes bytes as VMware does: two groups of eight.
func formatUUID(u [16]byte) string { return fmt.Sprintf("% x-% x", u[:8], u[8:]) }
