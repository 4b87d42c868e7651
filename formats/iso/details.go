package iso

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// details returns the facts in the disc's descriptors.
func (v volume) details(ctx context.Context, src formats.Source) ([]formats.Detail, error) {
	tables, err := partitionTables(ctx, src)
	if err != nil {
		return nil, err
	}
	var content []string
	var label string
	var more []formats.Detail
	le := binary.LittleEndian
	if p := v.primary; p != nil {
		content = append(content, "iso9660")
		label = strings.TrimRight(string(p[40:72]), " \x00")
		size := int64(le.Uint32(p[80:])) * int64(le.Uint16(p[128:]))
		more = append(more, formats.Detail{Key: "volume_size", Value: strconv.FormatInt(size, 10)})
	}
	if v.udf {
		content = append(content, "udf")
		if v.primary == nil {
			if label, err = udfLabel(ctx, src); err != nil {
				return nil, err
			}
		}
	}
	if v.boot != nil {
		more = append(more, formats.Detail{Key: "el_torito", Value: "boot catalog in sector " + strconv.FormatUint(uint64(le.Uint32(v.boot[71:])), 10)})
	}
	return append([]formats.Detail{
		{Key: "content", Value: strings.Join(content, " ")},
		{Key: "volume_label", Value: shown(label)},
		{Key: "system_area", Value: tables},
	}, more...), nil
}

// partitionTables looks into the system area, where a disc that boots from a stick has one.
func partitionTables(ctx context.Context, src formats.Source) (string, error) {
	b, err := readSector(ctx, src, 0, "system area")
	if err != nil {
		return "", err
	}
	next, err := readSector(ctx, src, 1, "system area")
	if err != nil {
		return "", err
	}
	var tables []string
	if b[510] == 0x55 && b[511] == 0xaa && (b[450]|b[466]|b[482]|b[498]) != 0 { // the types of the four partitions
		tables = append(tables, "mbr")
	}
	const gpt = "EFI PART"
	if string(b[512:512+len(gpt)]) == gpt || string(next[:len(gpt)]) == gpt {
		tables = append(tables, "gpt")
	}
	if tables == nil {
		return "no partition table", nil
	}
	return strings.Join(tables, " "), nil
}

// shown escapes a label, which may be hostile.
func shown(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strconv.Quote(s), `"`), `"`)
}
