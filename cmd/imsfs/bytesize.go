package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
)

// byteSize is a flag's number of bytes: 268435456, 256MiB, 256M or 256m, all powers of 1024 as qemu-img has them.
type byteSize int64

func (b *byteSize) Type() string { return "SIZE" }

func (b *byteSize) String() string {
	n := uint64(*b)
	if s := strings.ReplaceAll(humanize.IBytes(n), " ", ""); exact(s, n) {
		return s
	}
	return fmt.Sprint(n)
}

func exact(s string, n uint64) bool {
	back, err := humanize.ParseBytes(s)
	return err == nil && back == n
}

func (b *byteSize) Set(s string) error {
	unit := strings.TrimLeft(s, "0123456789. ")
	if len(unit) == 1 && !strings.EqualFold(unit, "b") {
		s += "iB"
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is no size: a number of bytes, or one with KiB, MiB, GiB or TiB", s)
	}
	*b = byteSize(n)
	return nil
}
