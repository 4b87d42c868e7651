package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// row is one measurement. An empty field does not apply.
type row struct{ what, ours, peer, ratio, wanted, met string }

var head = row{"what", "ours", "peer", "ratio", "wanted", "met"}

func (r row) cells() []string { return []string{r.what, r.ours, r.peer, r.ratio, r.wanted, r.met} }

// atLeast is a row whose ratio, the median of the sample, is to be want or more.
func atLeast(want float64, what, ours, peer string, ratio sample) row {
	return row{what, ours, peer, ratio.ratioText(), fmt.Sprintf("≥ %v", want), yesNo(ratio.median() >= want)}
}

// atMost is a row whose value is to be want or less, both shown by text.
func atMost(want float64, what, peer string, value float64, text func(float64) string) row {
	return row{what, text(value), peer, "", "≤ " + text(want), yesNo(value <= want)}
}

func yesNo(ok bool) string {
	if ok {
		return "yes"
	}
	return "NO"
}

type table struct{ rows []row }

func (t *table) add(rows ...row) { t.rows = append(t.rows, rows...) }

// fact is a line above the table: where and when.
type fact struct{ key, value string }

func (t *table) text(w io.Writer, where []fact) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range where {
		fmt.Fprintf(tw, "%s:\t%s\n", f.key, f.value)
	}
	fmt.Fprintln(tw)
	if err := tw.Flush(); err != nil { // the columns below are others
		return err
	}
	for _, r := range append([]row{head}, t.rows...) {
		fmt.Fprintln(tw, strings.Join(r.cells(), "\t"))
	}
	return tw.Flush()
}

func (t *table) markdown(w io.Writer, where []fact) error {
	var s strings.Builder
	for _, f := range where {
		fmt.Fprintf(&s, "- %s: %s\n", f.key, f.value)
	}
	line := func(cells []string) { fmt.Fprintf(&s, "| %s |\n", strings.Join(cells, " | ")) }
	s.WriteString("\n")
	line(head.cells())
	line([]string{"---", "---", "---", "---", "---", "---"})
	for _, r := range t.rows {
		line(r.cells())
	}
	_, err := io.WriteString(w, s.String())
	return err
}
