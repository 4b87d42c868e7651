package iso

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	sector        = 2048
	descriptorsAt = 16 * sector // after the system area
	// maxDescriptors bounds the walk; discs have three to seven.
	maxDescriptors = 32

	// Types of ISO 9660's descriptors.
	typeBoot    = 0
	typePrimary = 1
)

// volume is the facts of the descriptors. On a disc that has both, ISO 9660's come before UDF's.
type volume struct {
	primary []byte // ISO 9660's primary volume descriptor, nil if there is none
	boot    []byte // the boot record of El Torito, nil if there is none
	udf     bool
}

func (v volume) found() bool { return v.primary != nil || v.udf }

// recognize walks the descriptors to the first sector that is none.
func recognize(ctx context.Context, src formats.Source) (v volume, err error) {
	extended := false // in UDF's part
	for i := int64(0); i < maxDescriptors; i++ {
		b, err := readSector(ctx, src, descriptorsAt/sector+i, "volume descriptor")
		if b == nil {
			return v, err
		}
		switch id := string(b[1:6]); id {
		case "CD001":
			v.iso9660(b)
		case "BEA01":
			extended = true
		case "NSR02", "NSR03":
			v.udf = v.udf || extended
		case "TEA01", "BOOT2", "CDW02":
		default:
			return v, nil
		}
	}
	return v, nil
}

func (v *volume) iso9660(b []byte) {
	switch {
	case b[0] == typePrimary && v.primary == nil:
		v.primary = b
	case b[0] == typeBoot && string(b[7:30]) == "EL TORITO SPECIFICATION":
		v.boot = b
	}
}

// readSector reads a sector of 2048 bytes. It is nil, without an error, if the source ends before
// it does.
func readSector(ctx context.Context, src formats.Source, number int64, what string) ([]byte, error) {
	at := number * sector
	if at > src.Size()-sector {
		return nil, nil
	}
	b := make([]byte, sector)
	if err := src.ReadAt(ctx, b, at); err != nil {
		return nil, fmt.Errorf("iso: %s at %#x: %w", what, at, err)
	}
	return b, nil
}
