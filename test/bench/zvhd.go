package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// zvhdWanted is how many times longer than in a ZVHD2 a random read may take in a ZVHD that has its
// index.
const zvhdWanted = 1.5

// zvhd measures 4 KiB reads of a ZVHD that has its index, beside those of a ZVHD2 of the same data,
// both cold.
func (b *bench) zvhd(ctx context.Context) (err error) {
	image, err := converter{bench: b}.image(ctx, layout{name: "zvhd", format: "zvhd"})
	if err != nil {
		return err
	}
	if !b.keep {
		defer func() { err = errors.Join(err, os.Remove(image)) }()
	}
	zvhd, zvhd2 := rival{b.indexed, image}, rival{b.ours, b.data.zvhd2}
	var one, two rounds
	for range b.rounds {
		if err := two.measure(ctx, zvhd2); err != nil {
			return err
		}
		if err := one.measure(ctx, zvhd); err != nil {
			return err
		}
	}
	cold, others := one.cold.sums.over(two.cold.sums), one.others.sums.over(two.others.sums)
	b.table.add(
		row{"1000 random reads of 4 KiB, cold, ZVHD over ZVHD2", one.cold.text(), two.cold.text(), cold.ratioText(), fmt.Sprintf("≤ %v", zvhdWanted), yesNo(cold.median() <= zvhdWanted)},
		// By then all of the ZVHD2 is in the page cache, as its clusters are eight times larger.
		row{what: "4000 other random reads after", ours: one.others.text(), peer: two.others.text(), ratio: others.ratioText()},
	)
	return nil
}

// indexed serves an image like ours, once it has its index.
func (b *bench) indexed(ctx context.Context, image string) (served, error) {
	s, err := b.ours(ctx, image)
	if err != nil {
		return served{}, err
	}
	status := filepath.Join(filepath.Dir(s.disk), "status")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(status)
		switch {
		case err != nil:
			return served{}, errors.Join(err, s.stop())
		case strings.Contains(string(text), "\nindex ready\n"):
			return s, nil
		case !strings.Contains(string(text), "\nindex building\n"):
			return served{}, errors.Join(fmt.Errorf("%s: there will be no index: %s", image, text), s.stop())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return served{}, errors.Join(ctx.Err(), s.stop())
		}
	}
}
