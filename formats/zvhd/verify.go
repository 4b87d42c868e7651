package zvhd

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats/zstream"
)

// supported refuses by name the variants that are not read.
func (h *header) supported() error {
	if other := h.OtherVersion(); other != "" {
		return fmt.Errorf("zvhd: %s: %w", other, errors.ErrUnsupported)
	}
	return nil
}

// verify reports every field of the header at offset at that breaks a rule.
func (h *header) verify(at int64, report func(off int64, format string, args ...any)) {
	for _, r := range h.Rules() {
		if !r.OK {
			report(at+zstream.FieldOffset(fields, r.Field), "header: %s is %d, must be %s", r.Field, r.Got, r.Must)
		}
	}
}
