package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// display shows on stderr how far a long command is: a bar on a terminal, else a line now and then. show may be called
// as often as one likes, but by one goroutine at a time; end must follow the last one.
type display struct {
	show func(share float64, text string)
	end  func(text string)
}

func newDisplay(env *environment, label string) display {
	if env.terminal {
		return bar(env, label)
	}
	return lines(env, label)
}

// linePause is how long a log that is not a terminal goes without a line.
const linePause = 5 * time.Second

func lines(env *environment, label string) display {
	last := env.now()
	return display{
		show: func(share float64, text string) {
			if now := env.now(); share < 1 && now.Sub(last) >= linePause { // the last line is end's
				last = now
				fmt.Fprintf(env.stderr, "imsfs: %s: %s\n", label, text)
			}
		},
		end: func(text string) { fmt.Fprintf(env.stderr, "imsfs: %s: %s\n", label, text) },
	}
}

// barTotal is what a whole bar stands for.
const barTotal = 1_000_000

func bar(env *environment, label string) display {
	container := mpb.New(mpb.WithOutput(env.stderr), mpb.WithAutoRefresh())
	latest := make(chan string, 1) // what stands behind the bar
	latest <- ""
	setText := func(text string) { <-latest; latest <- text }
	b := container.AddBar(barTotal,
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			text := <-latest
			latest <- text
			return " " + text
		})),
	)
	return display{
		show: func(share float64, text string) {
			setText(text)
			b.SetCurrent(int64(share * (barTotal - 1))) // a full bar takes no more text
		},
		end: func(text string) {
			setText(text)
			b.Abort(false) // leaves the bar on the screen as it was last drawn
			container.Wait()
		},
	}
}

// progress is a display of bytes that are done. report may be called like display.show; end must follow the last one.
type progress struct {
	report func(done, total int64)
	end    func()
}

func newProgress(env *environment, label string) progress {
	d := newDisplay(env, label)
	p := pace{start: env.now()}
	return progress{
		report: func(done, total int64) {
			p.done, p.total = done, total
			d.show(float64(done)/float64(max(total, 1)), p.line(env.now()))
		},
		end: func() { d.end(p.line(env.now())) },
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
