package codec

import (
	"encoding/binary"
	"errors"
)

var (
	errLZOEnd    = errors.New("lzo: the data ends in a token")
	errLZOBefore = errors.New("lzo: a match begins before the data")
)

// LZO decodes LZO1X. The zero value is ready.
type LZO struct{}

// DecodeUpTo decodes all of src, at most len(dst) bytes, and returns how many there are.
func (LZO) DecodeUpTo(dst, src []byte) (int, error) {
	d := lzo{dst: dst, src: src}
	return d.decode()
}

type lzo struct {
	dst, src []byte
	out, in  int
}

// decode follows the tokens. state is the number of literals after the last match, 4 after a run of more.
func (d *lzo) decode() (int, error) {
	state := 0
	if len(d.src) > 0 && d.src[0] > 17 {
		n := int(d.src[0]) - 17
		d.in = 1
		if err := d.literals(n); err != nil {
			return d.out, err
		}
		state = min(n, 4)
	}
	for {
		if d.in >= len(d.src) {
			return d.out, errLZOEnd
		}
		token := int(d.src[d.in])
		d.in++
		if token < 16 && state == 0 {
			n, err := d.length(token, 15)
			if err == nil {
				err = d.literals(n + 3)
			}
			if err != nil {
				return d.out, err
			}
			state = 4
			continue
		}
		distance, length, after, err := d.match(token, state)
		if err != nil || distance == 0 {
			return d.out, err
		}
		if err := d.copy(distance, length); err != nil {
			return d.out, err
		}
		if err := d.literals(after); err != nil {
			return d.out, err
		}
		state = after
	}
}

// match reads the rest of a token. A distance of 0 is the end of the data.
func (d *lzo) match(token, state int) (distance, length, after int, err error) {
	if token < 16 || token >= 64 {
		if d.in >= len(d.src) {
			return 0, 0, 0, errLZOEnd
		}
		next := int(d.src[d.in])
		d.in++
		switch {
		case token >= 64:
			return 1 + token>>2&7 + next<<3, token>>5 + 1, token & 3, nil
		case state == 4:
			return 0x801 + token>>2 + next<<2, 3, token & 3, nil
		}
		return 1 + token>>2 + next<<2, 2, token & 3, nil
	}
	bits, base := 31, 1
	if token < 32 {
		bits, base = 7, (token&8)<<11
	}
	if length, err = d.length(token&bits, bits); err != nil {
		return 0, 0, 0, err
	}
	if d.in+2 > len(d.src) {
		return 0, 0, 0, errLZOEnd
	}
	word := int(binary.LittleEndian.Uint16(d.src[d.in:]))
	d.in += 2
	distance = base + word>>2
	if token < 32 {
		if distance == 0 {
			return 0, 0, 0, nil
		}
		distance += 0x4000
	}
	return distance, length + 2, word & 3, nil
}

// length continues a length of 0 in following bytes: each zero is 255 more, the first other byte ends it.
func (d *lzo) length(n, base int) (int, error) {
	if n != 0 {
		return n, nil
	}
	for n = base; ; n += 255 {
		if d.in >= len(d.src) {
			return 0, errLZOEnd
		}
		b := int(d.src[d.in])
		d.in++
		if b != 0 {
			return n + b, nil
		}
	}
}

func (d *lzo) literals(n int) error {
	if n > len(d.src)-d.in {
		return errLZOEnd
	}
	if n > len(d.dst)-d.out {
		return tooLong("lzo", len(d.dst))
	}
	copy(d.dst[d.out:], d.src[d.in:d.in+n])
	d.in, d.out = d.in+n, d.out+n
	return nil
}

func (d *lzo) copy(distance, n int) error {
	if distance > d.out {
		return errLZOBefore
	}
	if n > len(d.dst)-d.out {
		return tooLong("lzo", len(d.dst))
	}
	repeat(d.dst, d.out, distance, n)
	d.out += n
	return nil
}

// repeat copies n bytes from distance bytes before out, which may overlap.
func repeat(dst []byte, out, distance, n int) {
	if distance >= n {
		copy(dst[out:out+n], dst[out-distance:])
		return
	}
	for i := range n {
		dst[out+i] = dst[out+i-distance]
	}
}
