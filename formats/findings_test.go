package formats_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

func TestFindingsAreToldInFileOrder(t *testing.T) {
	var f formats.Findings
	if !f.Empty() {
		t.Error("not empty at first")
	}
	f.Damage(300, "entry %d", 3)
	f.Leak(100, 7)
	f.Damage(200, "entry 2")
	f.Damage(200, "entry 2 again")
	if f.Empty() {
		t.Error("empty at last")
	}
	var got []formats.Problem
	f.Report(func(p formats.Problem) { got = append(got, p) })
	want := []formats.Problem{
		{Off: 100, Text: "7 bytes belong to nothing", Leak: true},
		{Off: 200, Text: "entry 2"},
		{Off: 200, Text: "entry 2 again"},
		{Off: 300, Text: "entry 3"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	var f formats.Findings
	for i := range 12_345 {
		f.Damage(int64(i), "entry")
	}
	var last formats.Problem
	n := 0
	f.Report(func(p formats.Problem) { n, last = n+1, p })
	if n != 10_001 || last.Text != "2345 more problems are not listed" || last.Leak {
		t.Errorf("%d problems, the last %v", n, last)
	}
}

func TestUsageEqualsAListOfBools(t *testing.T) {
	for _, n := range []int64{0, 1, 63, 64, 65, 200, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(n), 41))
			u, model := formats.NewUsage(n), make([]bool, n)
			for range n {
				from := rnd.Int64N(n)
				for i := from; i < min(n, from+rnd.Int64N(100)); i++ {
					if again := u.Use(i); again != model[i] {
						t.Fatalf("Use(%d) = %v", i, again)
					}
					model[i] = true
				}
				if rnd.IntN(4) == 0 {
					break
				}
			}
			seen := slices.Clone(model)
			end := int64(-1)
			for from, to := range u.Unused() {
				if from <= end || from >= to || to > n {
					t.Fatalf("run [%d, %d) after %d", from, to, end)
				}
				for i := from; i < to; i++ {
					if seen[i] {
						t.Errorf("unit %d is used and was called unused", i)
					}
					seen[i] = true
				}
				end = to
			}
			if slices.Contains(seen, false) {
				t.Error("an unused unit was left out")
			}
		})
	}
}
