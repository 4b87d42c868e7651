package codec

import (
	"fmt"
	"testing"
)

const benchBlock = 2 << 20

func BenchmarkDecode(b *testing.B) {
	plain := text(benchBlock)
	for _, v := range variants() {
		src := v.encode(b, plain)
		b.Run(v.name, func(b *testing.B) {
			dst := make([]byte, len(plain))
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if err := v.dec.Decode(dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	plain := text(benchBlock)
	for _, level := range []int{1, 3, 7} {
		b.Run(fmt.Sprintf("level-%d", level), func(b *testing.B) {
			enc := newEncoder(b, level)
			var dst []byte
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				dst = enc.Encode(dst[:0], plain)
			}
		})
	}
}
