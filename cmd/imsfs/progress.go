package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows on stderr how far a long command is: a bar on a terminal, else a line now and then. report may
// be called as often as one likes, but by one goroutine at a time; end must follow the last report.
type progress struct {
	report func(done, total int64)
	end    func()
}

func newProgress(env *environment, label string) progress {
	if env.terminal {
		return progressBar(env, label)
	}
	return progressLines(env, label)
}

// linePause is how long a log that is not a terminal goes without a line.
const linePause = 5 * time.Second

func progressLines(env *environment, label string) progress {
	p := pace{start: env.now()}
	last := p.start
	return progress{
		report: func(done, total int64) {
			p.done, p.total = done, total
			if now := env.now(); done < total && now.Sub(last) >= linePause { // the last line is end's
				last = now
				fmt.Fprintf(env.stderr, "imsfs: %s: %s\n", label, p.line(now))
			}
		},
		end: func() { fmt.Fprintf(env.stderr, "imsfs: %s: %s\n", label, p.line(env.now())) },
	}
}

func progressBar(env *environment, label string) progress {
	start := env.now()
	container := mpb.New(mpb.WithOutput(env.stderr), mpb.WithAutoRefresh())
	bar := container.AddBar(0,
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			return " " + pace{start, s.Current, s.Total}.line(env.now())
		})),
	)
	return progress{
		report: func(done, total int64) {
			bar.SetTotal(total, false)
			bar.SetCurrent(done)
		},
		end: func() {
			bar.Abort(false) // leaves the bar on the screen as it was last drawn
			container.Wait()
		},
	}
}

// pace tells how fast something goes.
type pace struct {
	start       time.Time
	done, total int64 // bytes
}

// line reads "40 % of 1.0 GiB, 120 MiB/s, 5s left".
func (p pace) line(now time.Time) string {
	if p.total <= 0 {
		return "no data"
	}
	text := fmt.Sprintf("%d %% of %s", int64(float64(p.done)/float64(p.total)*100), humanize.IBytes(uint64(p.total)))
	elapsed := now.Sub(p.start)
	if p.done <= 0 || elapsed <= 0 {
		return text
	}
	rate := float64(p.done) / elapsed.Seconds()
	text += fmt.Sprintf(", %s/s", humanize.IBytes(uint64(rate)))
	if p.done == p.total {
		return text + fmt.Sprintf(", took %v", elapsed.Round(time.Second/10))
	}
	left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
	return text + fmt.Sprintf(", %v left", left.Round(time.Second))
}
