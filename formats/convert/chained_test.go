package convert_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/imsfs/imsfs/formats/convert"
)

// chainedEncoder is a fakeEncoder whose chunks begin with what was before their cluster.
type chainedEncoder struct {
	fakeEncoder
	reach   int
	entered chan int64    // optional: is sent each cluster whose encoding begins
	release chan struct{} // then it waits for this
}

func (e *chainedEncoder) Reach() int { return e.reach }

func (e *chainedEncoder) Encode([]byte, []byte, int64) ([]byte, error) {
	return nil, fmt.Errorf("Encode of a chained encoder was called")
}

func (e *chainedEncoder) EncodeAfter(dst, plain []byte, ci int64, before []byte) ([]byte, error) {
	if e.entered != nil {
		e.entered <- ci
		<-e.release
	}
	if before == nil {
		return append(dst, "nothing"...), nil
	}
	return append(dst, before...), nil
}

func TestRunHandsOnWhatIsBefore(t *testing.T) {
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 9))
		size := 512 * (1 + rng.Int64N(20*mib/512))
		img := newFakeImage(rng, size, 64<<10, []string{"", "zstd"}[rng.IntN(2)])
		clear(img.bytes[size/4 : size/2]) // several units of nothing but zeros
		cluster := int64(4096) << rng.IntN(10)
		enc := &chainedEncoder{fakeEncoder: fakeEncoder{cluster: cluster}, reach: 1 + rng.IntN(4096)}
		workers := 1 + rng.IntN(8)
		name := fmt.Sprintf("seed=%d size=%d to=%d reach=%d workers=%d", seed, size, cluster, enc.reach, workers)
		var target fakeTarget
		if err := convert.Run(t.Context(), img, enc, &target, convert.Config{Workers: workers}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		disk := append(img.bytes, make([]byte, cluster)...) // the last cluster is padded
		want := []byte("nothing")
		for i, ci := range nonZero(img.bytes, cluster) {
			if enc.placed[i] != ci {
				t.Fatalf("%s: placed cluster %d, want %d", name, enc.placed[i], ci)
			}
			if got := target.bytes[enc.offs[i]:][:len(want)]; !bytes.Equal(got, want) {
				t.Fatalf("%s: cluster %d was encoded after other bytes", name, ci)
			}
			end := (ci + 1) * cluster
			want = disk[end-int64(enc.reach) : end]
		}
	}
}

// TestRunEncodesAChainAtOnce: no worker waits for another's encoding.
func TestRunEncodesAChainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		enc := &chainedEncoder{fakeEncoder: fakeEncoder{cluster: mib}, reach: 512, entered: make(chan int64, 32), release: make(chan struct{})}
		result := make(chan error)
		go func() {
			result <- convert.Run(t.Context(), fullImage(32*mib), enc, &fakeTarget{}, convert.Config{Workers: workers})
		}()
		synctest.Wait()
		if got := len(enc.entered); got != workers {
			t.Errorf("%d clusters are being encoded, want %d", got, workers)
		}
		close(enc.release)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
