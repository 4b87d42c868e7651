package codec

import (
	"bytes"
	"errors"
	"testing"
)

// TestDecodeFinished wants the final block and the checksum, which Decode does without.
func TestDecodeFinished(t *testing.T) {
	plain := text(64 << 10)
	whole, flushed := zlibStream(t, plain, true), zlibStream(t, plain, false)
	wrong := bytes.Clone(whole)
	wrong[len(wrong)-1]++
	z, dst := NewZlib(), make([]byte, len(plain))
	if err := z.DecodeFinished(dst, whole); err != nil || !bytes.Equal(dst, plain) {
		t.Errorf("a finished stream: %v, or other bytes", err)
	}
	if err := z.DecodeFinished(dst, append(bytes.Clone(whole), "padding"...)); err != nil || !bytes.Equal(dst, plain) {
		t.Errorf("a finished stream with padding: %v, or other bytes", err)
	}
	for name, src := range map[string][]byte{"flushed": flushed, "without its checksum": whole[:len(whole)-4], "with half of it": whole[:len(whole)-2], "with a wrong one": wrong,
		"with another header": append([]byte{0x79}, whole[1:]...), "with a dictionary": append([]byte{0x78, 0xbb}, whole[2:]...), "of a byte": whole[:1]} {
		if err := z.DecodeFinished(dst, src); err == nil {
			t.Errorf("a stream %s was accepted", name)
		}
	}
	if err := z.DecodeFinished(dst[1:], whole); !errors.Is(err, ErrLength) {
		t.Errorf("a stream that is too long: %v", err)
	}
	if err := z.DecodeFinished(make([]byte, len(plain)+1), whole); !errors.Is(err, ErrLength) {
		t.Errorf("a stream that is too short: %v", err)
	}
}
