package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// job is the line of a job file: docs/control-files.md.
type job struct {
	phase string
	share float64
	rate  string
	verb  string
	left  string // seconds, "" if that cannot be told
	why   string // of a failure
}

func readJob(path string) (job, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return job{}, err
	}
	line, why, _ := strings.Cut(strings.TrimSuffix(string(b), "\n"), ": ")
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return job{}, fmt.Errorf("%s: %q is no job", path, line)
	}
	j := job{phase: fields[0], rate: fields[2], verb: fields[3], why: why}
	if j.share, err = strconv.ParseFloat(fields[1], 64); err != nil {
		return job{}, fmt.Errorf("%s: %q is no job", path, line)
	}
	if len(fields) > 4 {
		j.left = fields[4]
	}
	return j, nil
}

// text reads "40 %, 120 MiB/s, 5s left".
func (j job) text() string {
	text := fmt.Sprintf("%.0f %%", j.share*100)
	if j.rate != "-" {
		text += ", " + j.rate
	}
	if j.left != "" {
		text += ", " + j.left + " left"
	}
	return text
}

// A job file is read again and again, because nothing signals its changes. The first pause is short,
// so that a job without work ends the command at once; each pause is twice the one before.
const (
	firstPause = 2 * time.Millisecond
	jobPause   = 200 * time.Millisecond // the longest
)

// await shows a job until it ends, and returns its outcome. When the waiting is ended the job goes on.
func await(ctx context.Context, path string, d display) error {
	for pause := firstPause; ; pause = min(2*pause, jobPause) {
		j, err := readJob(path)
		if err != nil {
			d.end("lost sight of the job")
			return err
		}
		switch j.phase {
		case "DONE":
			d.end("done")
			return nil
		case "FAILED", "CANCELLED":
			d.end(strings.ToLower(j.phase))
			return errors.New(j.why)
		}
		if pause == jobPause {
			d.show(j.share, j.text())
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			d.end(j.text() + "; the job goes on")
			return ctx.Err()
		}
	}
}

// jobOn starts the job of a command line on an image and, if wait is set, waits for its end.
func (c *client) jobOn(ctx context.Context, env *environment, wait bool, image string, line ...string) error {
	if err := c.imageCommand(image, line...); err != nil || !wait {
		return err
	}
	path, err := c.image(image, "job")
	if err != nil {
		return err
	}
	return await(ctx, path, newDisplay(env, line[0]+" "+image))
}

// jobCommand is a command on an image that starts a job and waits for its end.
func jobCommand(env *environment, cmd *cobra.Command, words func(args []string) ([]string, error)) *cobra.Command {
	noWait := noWaitFlag(cmd)
	cmd.Long += waitHelp
	return treeCommand(env, cmd, func(c *client, args []string) error {
		line, err := words(args)
		if err != nil {
			return err
		}
		return c.jobOn(cmd.Context(), env, !*noWait, args[0], line...)
	})
}

const waitHelp = `

Waits for the end, and exits by the outcome; interrupting that leaves the job alone, imsfs cancel ends it.`

func noWaitFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("no-wait", false, "return as soon as the job is accepted; its progress is in the file job")
}

func newPrefetch(env *environment) *cobra.Command {
	return jobCommand(env, &cobra.Command{
		Use:     "prefetch NAME [OFF LEN]",
		Short:   "Load a range of an image, or all of it, into the store",
		Long:    `Load a range of an image's disk, or all of it, into the store, as reading it would. Sizes may have units: 64MiB.`,
		Example: "  imsfs prefetch web\n  imsfs prefetch web 0 64MiB",
		Args:    oneOrThree,
	}, func(args []string) ([]string, error) {
		words := []string{"prefetch"}
		for _, arg := range args[1:] {
			var n byteSize
			if err := n.Set(arg); err != nil {
				return nil, err
			}
			words = append(words, strconv.FormatInt(int64(n), 10))
		}
		return words, nil
	})
}

// oneOrThree accepts NAME, or NAME, OFF and LEN.
func oneOrThree(cmd *cobra.Command, args []string) error {
	if len(args) == 1 || len(args) == 3 {
		return nil
	}
	return &usageError{cmd.CommandPath(), fmt.Errorf("%s wants NAME, or NAME, OFF and LEN: %d given", cmd.Name(), len(args))}
}

// plainJob is a command that starts a job without arguments on each of some images, one after the
// other.
func plainJob(env *environment, verb, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " NAME ...", Short: short, Long: long + waitHelp,
		Example: "  imsfs " + verb + " web\n  imsfs " + verb + " web db", Args: atLeast("NAME"),
	}
	noWait := noWaitFlag(cmd)
	return completedCommand(env, cmd, completeImages, func(c *client, args []string) error {
		return forEach(args, func(name string) error {
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return c.jobOn(cmd.Context(), env, !*noWait, name, verb)
		})
	})
}

func newHydrate(env *environment) *cobra.Command {
	return plainJob(env, "hydrate", "Load all of an image into the store and keep it",
		`Load all of an image into the store. From then on it needs its source no more, and it never leaves the store by itself. A
job that a restart ended goes on by itself.`)
}

func newEvict(env *environment) *cobra.Command {
	return plainJob(env, "evict", "Drop from the store what the source can give again",
		`Drop an image's blocks from the store. They are loaded from the source again when they are read, so it must still be what
was registered.`)
}

func newRefresh(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh NAME ...",
		Short: "Accept an image's source as it is now, after it was moved and is back",
		Long: `Accept the source of an image as it is now. A file that was moved away and back, touched or restored is refused until then,
because it may have been written to. Its disk must have the same format and size, and the bytes that the store has of it.`,
		Args: atLeast("NAME"),
	}
	return completedCommand(env, cmd, completeImages, func(c *client, args []string) error {
		return forEach(args, func(name string) error {
			ctl, err := c.image(name, "ctl")
			if err != nil {
				return err
			}
			return c.command(ctl, "refresh")
		})
	})
}

func newVerify(env *environment) *cobra.Command {
	return plainJob(env, "verify", "Hash again what the store has of an image",
		`Read every block that the store has of an image and compare it with its SHA-256. What is damaged is loaded again from the
source, if that can be.`)
}

func newCancel(env *environment) *cobra.Command {
	return treeCommand(env, &cobra.Command{
		Use:     "cancel [NAME ...]",
		Short:   "End the jobs of images or volumes, or that of the store",
		Example: "  imsfs cancel web\n  imsfs cancel",
		Args:    cobra.ArbitraryArgs,
	}, func(c *client, args []string) error {
		if len(args) == 0 {
			return c.command(filepath.Join(c.root, "ctl"), "cancel")
		}
		return forEach(args, func(name string) error { return c.namedCommand(name, "cancel") })
	})
}
