package main

import (
	"fmt"
	"slices"
	"time"
)

// sample is one quantity, measured once a round. Durations are in seconds.
type sample []float64

func (s *sample) add(d time.Duration) { *s = append(*s, d.Seconds()) }

// quantile is the value below which the share q of the sample lies: 0.5 is the median.
func (s sample) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func (s sample) median() float64 { return s.quantile(0.5) }

func (s sample) sum() (sum float64) {
	for _, v := range s {
		sum += v
	}
	return sum
}

// over is the sample of quotients, round by round.
func (s sample) over(other sample) sample {
	var q sample
	for i, v := range s {
		q = append(q, v/other[i])
	}
	return q
}

// ratioText prints the median, and the least and greatest ratio.
func (s sample) ratioText() string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median(), slices.Min(s), slices.Max(s))
}

// rateText is n bytes in the sample's median time.
func (s sample) rateText(n int64) string { return fmt.Sprintf("%.0f MB/s", float64(n)/s.median()/1e6) }

func durationText(seconds float64) string {
	switch {
	case seconds >= 1:
		return fmt.Sprintf("%.2f s", seconds)
	case seconds >= 1e-3:
		return fmt.Sprintf("%.1f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.1f µs", seconds*1e6)
}

func bytesText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}
