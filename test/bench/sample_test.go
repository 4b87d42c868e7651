package main

import (
	"math"
	"testing"
)

func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		s    sample
		q    float64
		want float64
	}{
		{sample{7}, 0.5, 7},
		{sample{3, 1, 2}, 0.5, 2},
		{sample{4, 1, 2, 3}, 0.5, 2.5},
		{sample{3, 1, 2}, 0, 1},
		{sample{3, 1, 2}, 1, 3},
		{sample{0, 10}, 0.99, 9.9},
	} {
		if got := c.s.quantile(c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("quantile %v of %v = %v, want %v", c.q, c.s, got, c.want)
		}
	}
}

// A ratio is the median of the rounds' ratios, not the ratio of medians: a slow minute slows both
// of a round.
func TestRatiosAreOfRounds(t *testing.T) {
	ours, peer := sample{1, 10, 2}, sample{2, 20, 2}
	if got := peer.over(ours).median(); got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
}

func TestRowsSayWhetherTheyAreMet(t *testing.T) {
	text := func(v float64) string { return "" }
	for _, c := range []struct {
		r    row
		want string
	}{
		{atLeast(1.3, "", "", "", sample{1.2, 1.3, 1.4}), "yes"},
		{atLeast(1.3, "", "", "", sample{1.2, 1.29, 1.4}), "NO"},
		{atMost(20, "", "", 20, text), "yes"},
		{atMost(20, "", "", 20.1, text), "NO"},
	} {
		if c.r.met != c.want {
			t.Errorf("row %+v, want %s", c.r, c.want)
		}
	}
}
