package formats

import "bytes"

// IsZero reports whether p is all zeros. It compares p with itself, shifted by one byte: at the
// speed of memory, and only up to the first byte that is not zero.
func IsZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
