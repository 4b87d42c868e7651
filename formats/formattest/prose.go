package formattest

import (
	"fmt"
	"math/rand/v2"
)

// Prose is n bytes that compress to about a third, by matches of all lengths, as files do; always
// the same ones.
func Prose(n int) []byte {
	rnd := rand.New(rand.NewPCG(31, 37))
	var words []string
	for range 3000 {
		words = append(words, fmt.Sprintf("%x ", rnd.Uint64N(1<<(8+rnd.IntN(40)))))
	}
	b := make([]byte, 0, n+1024)
	for len(b) < n {
		if len(b) > 100_000 && rnd.IntN(50) == 0 {
			at := rnd.IntN(len(b) - 1000)
			b = append(b, b[at:at+50+rnd.IntN(900)]...)
			continue
		}
		b = append(b, words[rnd.IntN(len(words))]...)
	}
	return b[:n]
}
