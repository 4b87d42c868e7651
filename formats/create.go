package formats

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Keys of options that are fields of CreateOptions and never in its Set.
const (
	uuidKey      = "uuid"
	timestampKey = "timestamp"
)

// UUIDOption is the entry in Creator.Options of a format that records a UUID.
func UUIDOption() Option {
	return Option{Key: uuidKey, Help: "of the image; if not given, made from the source's name, size and time"}
}

// TimestampOption is the entry in Creator.Options of a format that records its creation.
func TimestampOption() Option {
	return Option{Key: timestampKey, Help: "seconds since 1970; if not given, SOURCE_DATE_EPOCH or the source's modification time"}
}

// Choose takes words of the form K=V, where K is one of the known options. uuid and timestamp
// become fields of o, the rest goes into its Set, whose values Create checks.
func (o *CreateOptions) Choose(driver string, known []Option, words []string) error {
	seen := map[string]bool{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" || value == "" {
			return fmt.Errorf("%s: option %q: must be KEY=VALUE", driver, word)
		}
		if err := CheckSet(driver, known, map[string]string{key: value}); err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%s: option %q is given twice", driver, key)
		}
		seen[key] = true
		if err := o.choose(key, value); err != nil {
			return fmt.Errorf("%s: %s=%s: %w", driver, key, value, err)
		}
	}
	return nil
}

func (o *CreateOptions) choose(key, value string) (err error) {
	switch key {
	case uuidKey:
		o.UUID, err = parseUUID(value)
	case timestampKey:
		o.Timestamp, err = strconv.ParseInt(value, 10, 64)
		if err != nil || o.Timestamp < 0 {
			err = fmt.Errorf("must be seconds since 1970")
		}
	default:
		if o.Set == nil {
			o.Set = map[string]string{}
		}
		o.Set[key] = value
	}
	return err
}

// parseUUID reads 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12. The UUID of zeros stands
// for none and is refused.
func parseUUID(text string) (id [16]byte, err error) {
	groups := strings.Split(text, "-")
	var lengths []int
	for _, g := range groups {
		lengths = append(lengths, len(g))
	}
	b, err := hex.DecodeString(strings.Join(groups, ""))
	if err != nil || !slices.Equal(lengths, []int{8, 4, 4, 4, 12}) || [16]byte(b) == id {
		return id, fmt.Errorf("must be a UUID that is not all zeros, as in 6ba7b810-9dad-41d1-80b4-00c04fd430c8")
	}
	return [16]byte(b), nil
}

// CheckSet returns an error for a key that the format does not know. The error lists the known
// ones.
func CheckSet(driver string, known []Option, set map[string]string) error {
	for key := range set {
		if slices.ContainsFunc(known, func(o Option) bool { return o.Key == key }) {
			continue
		}
		if len(known) == 0 {
			return fmt.Errorf("%s: unknown option %q: the format has none", driver, key)
		}
		var keys []string
		for _, o := range known {
			keys = append(keys, o.Key)
		}
		return fmt.Errorf("%s: unknown option %q: known are %s", driver, key, strings.Join(keys, ", "))
	}
	return nil
}

// ErrTooLarge is the kind (errors.Is) of Creator.Create's error about a disk that the format cannot
// hold.
var ErrTooLarge = errors.New("more than the format can hold")

// TooLarge makes an error of kind ErrTooLarge; the sentence names the limit.
func TooLarge(format string, args ...any) error {
	return &kindError{ErrTooLarge, fmt.Sprintf(format, args...)}
}

// ErrSectorSize is the kind (errors.Is) of Creator.Create's error about a disk whose sectors the
// format cannot have.
var ErrSectorSize = errors.New("sectors that the format does not have")

// CheckSector refuses a disk of other sectors than 512 bytes, for a format whose sectors have 512
// by definition: its guest would look for partitions in the wrong places, and find none.
func CheckSector(driver string, opts CreateOptions) error {
	if opts.SectorSize == 0 || opts.SectorSize == SectorSize {
		return nil
	}
	return &kindError{ErrSectorSize, fmt.Sprintf("%s: the disk has logical sectors of %d bytes, the format always has %d: its guest would find no partitions",
		driver, opts.SectorSize, SectorSize)}
}

// Create prepares writing a disk of size bytes in the format of that name. If the format cannot
// hold the disk, the error names those that can.
func (s Set) Create(name string, size int64, opts CreateOptions) (Encoder, error) {
	c, err := s.Creator(name)
	if err != nil {
		return nil, err
	}
	enc, err := c.Create(size, opts)
	if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrSectorSize) {
		return enc, err
	}
	holds := s.writers(func(d Driver, c Creator) bool {
		_, err := c.Create(size, CreateOptions{SectorSize: opts.SectorSize})
		return err == nil && d.Name() != name
	})
	if len(holds) == 0 {
		return nil, fmt.Errorf("%w, and no other format holds more", err)
	}
	return nil, fmt.Errorf("%w; these hold it: %s", err, strings.Join(holds, ", "))
}

// Creator returns the driver of that name if it writes. If not, the error names the drivers that
// do.
func (s Set) Creator(name string) (Creator, error) {
	d, err := s.Named(name)
	if err != nil {
		return nil, err
	}
	if c, ok := d.(Creator); ok {
		return c, nil
	}
	all := s.writers(func(Driver, Creator) bool { return true })
	return nil, fmt.Errorf("%s: imsfs reads this format but does not write it: it writes %s", name, strings.Join(all, ", "))
}

// writers returns the names of the drivers that write and are wanted.
func (s Set) writers(wanted func(Driver, Creator) bool) []string {
	var names []string
	for _, d := range s.all() {
		if c, ok := d.(Creator); ok && wanted(d, c) {
			names = append(names, d.Name())
		}
	}
	return names
}

// ParseSize reads the size in an option, for example 1048576, 1024k, 1M or 1MiB. Units are powers
// of 1024, in any case.
func ParseSize(text string) (n int64, ok bool) {
	digits := strings.TrimRight(text, "KMGkmgiIbB")
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kib": 10, "m": 20, "mib": 20, "g": 30, "gib": 30}[strings.ToLower(text[len(digits):])]
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || u > math.MaxInt64>>shift {
		return 0, false
	}
	return int64(u << shift), true
}
