package tree

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// answer is the content of an image's inspect: the keys of the report, if there is one, and these.
type answer struct {
	State string `json:"state"` // complete, partial if a limit was hit, failed if there is no report
	Error string `json:"error,omitempty"`
	*inspect.Report
}

// report returns the report on an image as JSON.
func (in *insides) report(ctx context.Context, img *lifecycle.Image) string {
	r, err := in.inspect(ctx, img)
	a := answer{State: "complete", Report: r}
	switch {
	case r == nil:
		a.State = "failed"
	case err != nil || len(r.Limits) > 0:
		a.State = "partial"
	}
	if err != nil {
		a.Error = command.Sentence(err)
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		panic(err) // bug: a report has strings and numbers only
	}
	return string(text) + "\n"
}

func (in *insides) inspect(ctx context.Context, img *lifecycle.Image) (*inspect.Report, error) {
	select {
	case in.reports <- struct{}{}:
		defer func() { <-in.reports }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(maxLook):
		return nil, fmt.Errorf("inspect: %d other reports took longer than %v; try again", maxReports, maxLook)
	}
	var r *inspect.Report
	err := look(ctx, imageFile{img}, func(ctx context.Context, l *inspect.Layout) (err error) {
		if r, err = l.Report(ctx, in.now().UTC().Format(time.DateOnly)); r != nil {
			r.Image.Name = img.Name()
		}
		return err
	})
	return r, err
}

// tableText returns the slices of a disk and their contents as a table, with sizes in bytes. Notes
// follow it.
func tableText(ctx context.Context, f DiskFile) string {
	var list []inspect.SliceReport
	err := look(ctx, f, func(ctx context.Context, l *inspect.Layout) (err error) {
		list, err = l.SliceReports(ctx)
		return err
	})
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLICE\tSTART\tSIZE\tTYPE\tCONTENT\tLABEL\tUUID\tSTATE")
	for _, s := range list {
		c := s.Content
		if c == nil {
			c = &inspect.ContentReport{Type: "-"}
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", cell(s.ID), s.Off, s.Size,
			cell(s.TypeName, s.Type, s.Kind), cell(c.Type, "unknown"), cell(c.Label), cell(c.UUID), cell(c.State))
	}
	table.Flush()
	for _, s := range list {
		notes := s.Notes
		if s.Content != nil {
			notes = append(notes[:len(notes):len(notes)], s.Content.Notes...)
		}
		for _, note := range notes {
			fmt.Fprintf(&text, "    note on %s: %s\n", cell(s.ID), cell(note))
		}
	}
	if err != nil {
		fmt.Fprintf(&text, "    error: %s\n", cell(command.Sentence(err)))
	}
	return text.String()
}

// cell returns the first text that is not empty, or "-". Characters that do not print are escaped,
// because names and labels are the image's.
func cell(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			quoted := strconv.Quote(s)
			return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
		}
	}
	return "-"
}
