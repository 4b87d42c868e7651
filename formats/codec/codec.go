// Package codec decodes and encodes compressed clusters: exactly n bytes out, in bounded memory.
//
// A decoder is long-lived, shared by all readers and safe for concurrent use. Decode fills the
// caller's buffer and nothing else: input that holds fewer bytes or more, or that is damaged, is an
// error, and then the buffer's content means nothing. Nothing is allocated per call once the pools
// are warm. The length of the buffer bounds the size of a decoded cluster, at most
// formats.MaxCompressedCluster.
//
// This is the only package of the module that imports a compression library for images.
package codec

import (
	"errors"
	"fmt"
)

// ErrLength is the kind (errors.Is) of an error about intact input that holds another number of bytes than
// was asked for.
var ErrLength = errors.New("wrong decoded length")

func lengthError(codec string, got uint64, want int) error {
	return wrongLength(fmt.Sprintf("%s: the data decodes to %d bytes, must be %d", codec, got, want))
}

func tooLong(codec string, want int) error {
	return wrongLength(fmt.Sprintf("%s: the data decodes to more than %d bytes", codec, want))
}

// wrongLength is a sentence of kind ErrLength.
type wrongLength string

func (e wrongLength) Error() string        { return string(e) }
func (e wrongLength) Is(target error) bool { return target == ErrLength }
