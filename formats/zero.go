package formats

import "bytes"

// IsZero tells whether p is all zeros. It compares the bytes with themselves, one further on: at the speed of memory, and
// done at the first byte that is not zero.
func IsZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
