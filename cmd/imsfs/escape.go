package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape returns a name from an image for one line of output, as ls -b prints it: control characters,
// other characters that do not print, invalid UTF-8 and backslashes are escaped.
func escape[T string | []byte](name T) string {
	s := string(name)
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || r == utf8.RuneError || !strconv.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && n == 1 || !strconv.IsPrint(r):
			for i := range n {
				fmt.Fprintf(&b, `\%03o`, s[i])
			}
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// modeString returns a mode as ls prints it: "drwxr-xr-x".
func modeString(mode uint32) string {
	kinds := map[uint32]byte{0o140000: 's', 0o120000: 'l', 0o100000: '-', 0o060000: 'b', 0o040000: 'd', 0o020000: 'c', 0o010000: 'p'}
	b := []byte("?rwxrwxrwx")
	if k, ok := kinds[mode&0o170000]; ok {
		b[0] = k
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	for i, special := range []struct {
		bit         uint32
		with, alone byte
	}{{0o4000, 's', 'S'}, {0o2000, 's', 'S'}, {0o1000, 't', 'T'}} {
		if mode&special.bit == 0 {
			continue
		}
		if at := 3 + 3*i; b[at] == 'x' {
			b[at] = special.with
		} else {
			b[at] = special.alone
		}
	}
	return string(b)
}
