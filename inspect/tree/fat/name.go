package fat

import (
	"encoding/binary"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/imsfs/imsfs/inspect/tree"
)

// oem are the characters 0x80 to 0xFF of code page 437, that of short names.
var oem = [128]rune([]rune("ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
	"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"))

func decodeOEM(b []byte) []byte { return appendOEM(nil, b, false) }

func appendOEM(to, b []byte, lower bool) []byte {
	for _, c := range b {
		switch {
		case c >= 0x80:
			to = utf8.AppendRune(to, oem[c-0x80])
		case lower && c >= 'A' && c <= 'Z':
			to = append(to, c+'a'-'A')
		default:
			to = append(to, c)
		}
	}
	return to
}

// appendShort appends the name of 8 and 3 characters. Two bits of a record say that a part is lower
// case.
func appendShort(to, raw []byte) []byte {
	base := [8]byte(raw[:8])
	if base[0] == 0x05 { // because 0xE5 is a deleted file
		base[0] = 0xE5
	}
	to = appendOEM(to, trimSpaces(base[:]), raw[12]&0x08 != 0)
	if extension := trimSpaces(raw[8:11]); len(extension) > 0 {
		to = appendOEM(append(to, '.'), extension, raw[12]&0x10 != 0)
	}
	return to
}

func trimSpaces(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

const (
	longUnits = 13 // UTF-16 units of a part
	longParts = 20
)

// longName gathers the parts of a long name, which are before its record, the last part first.
type longName struct {
	units [longParts * longUnits]uint16
	parts []byte // their numbers, from the last to 1
	sum   byte
	index int // of the last record added
}

// add takes a part. One that does not continue the name drops the parts before it.
func (l *longName) add(raw []byte, index int) {
	number := raw[0] & 0x1F
	if raw[0]&0x40 != 0 && number >= 1 && number <= longParts {
		l.parts, l.sum = l.parts[:0], raw[13]
	} else if n := len(l.parts); n == 0 || number == 0 || number != l.parts[n-1]-1 || raw[13] != l.sum || index != l.index+1 {
		l.parts = nil
		return
	}
	l.parts, l.index = append(l.parts, number), index
	units := l.units[int(number-1)*longUnits:]
	for i := range longUnits {
		at := 1 + 2*i
		switch {
		case i >= 11:
			at += 5 // the cluster field
		case i >= 5:
			at += 3 // attribute, type, checksum
		}
		units[i] = binary.LittleEndian.Uint16(raw[at:])
	}
}

// take returns the long name of the record at index and forgets it; nil if there is none, or if its
// checksum is that of another short name.
func (l *longName) take(raw []byte, index int) []uint16 {
	parts := l.parts
	l.parts = nil
	if n := len(parts); n == 0 || parts[n-1] != 1 || l.index+1 != index || l.sum != shortSum(raw) {
		return nil
	}
	units := l.units[:int(parts[0])*longUnits]
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	if len(units) == 0 {
		return nil
	}
	return units
}

// shortSum is the checksum of a short name in the parts of the long one.
func shortSum(raw []byte) (sum byte) {
	for _, c := range raw[:11] {
		sum = sum<<7 | sum>>1
		sum += c
	}
	return sum
}

// appendUTF16 appends UTF-8. Half a surrogate pair becomes the three bytes that it would have as a
// character, so that different names stay different.
func appendUTF16(to []byte, units []uint16) []byte {
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		if !utf16.IsSurrogate(u) {
			to = utf8.AppendRune(to, u)
			continue
		}
		if i+1 < len(units) {
			if r := utf16.DecodeRune(u, rune(units[i+1])); r != utf8.RuneError {
				to = utf8.AppendRune(to, r)
				i++
				continue
			}
		}
		to = append(to, 0xE0|byte(u>>12), 0x80|byte(u>>6)&0x3F, 0x80|byte(u)&0x3F)
	}
	return to
}

// fatTime is a date, a time in units of 2 seconds, and hundredths of a second up to 199. A date of
// 0 is not recorded.
func fatTime(date, clock uint16, hundredths byte) tree.Time {
	if date == 0 {
		return tree.Time{}
	}
	at := time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31), int(clock>>11), int(clock>>5&63),
		int(clock&31)*2+int(hundredths)/100, 0, time.UTC)
	return tree.At(at.Unix(), uint32(hundredths%100)*1e7)
}
