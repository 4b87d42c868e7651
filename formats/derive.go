package formats

import (
	"crypto/sha256"
	"fmt"
)

// DeriveUUID makes a version 8 UUID (RFC 9562) for an image written from another. It depends on
// facts that are known before the content is read: name and size of the source file, size of the
// disk, and the recorded time.
func DeriveUUID(name string, fileSize, diskSize, created int64) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "imsfs\x00%s\x00%d\x00%d\x00%d", name, fileSize, diskSize, created))
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
