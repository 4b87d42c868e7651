package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/spf13/cobra"
)

func newRun(env *environment) *cobra.Command {
	var opts struct {
		exec   bool
		cdroms []string
	}
	cmd := &cobra.Command{
		Use:   "run VOLUME|IMAGE [-- QEMU-ARGUMENT ...]",
		Short: "Boot a volume, or a throw-away clone of an image, by QEMU",
		Long: `Print the qemu-system-x86_64 command that boots a disk, or with --exec run it. Memory is what min_ram says, else 1 GiB;
firmware what firmware says, else bios. What follows -- is added, so that it comes last and counts.

A volume keeps what is written to it. Of an image a clone is booted, which is deleted when the machine ends, also by a
signal; an ISO (format iso, or type=iso) is a CD-ROM, and has no clone. Where a volume and an image have one name, say
volumes/NAME or images/NAME.`,
		Example: `  imsfs run web-1
  imsfs run web --exec -- -nographic
  imsfs create fresh 20GiB && imsfs run fresh --cdrom debian-12 --exec`,
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				args = args[:n]
			}
			return exactly("VOLUME|IMAGE")(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&opts.exec, "exec", false, "run it")
	cmd.Flags().StringArrayVar(&opts.cdroms, "cdrom", nil, "an `IMAGE` in a CD-ROM drive (can be repeated)")
	return treeCommand(env, cmd, func(c *client, args []string) error {
		m, err := c.machine(args[0], opts.cdroms)
		if err != nil {
			return err
		}
		m.more = args[1:]
		if opts.exec {
			return m.run(cmd.Context(), env, c)
		}
		return m.print(env)
	})
}

// machine is what is to be booted.
type machine struct {
	hardware
	clones string // the control file of the image of which disk is to be a throw-away clone, "" if it is not
	volume string // the clone's name
}

// machine finds out what is to be booted, and how.
func (c *client) machine(name string, cdroms []string) (*machine, error) {
	dir, err := c.only(name)
	if err != nil {
		return nil, err
	}
	status, err := readStatus(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	of := map[string]string{}
	for _, p := range status {
		of[p.key] = p.value
	}
	m := &machine{hardware: hardware{name: filepath.Base(dir), disk: filepath.Join(dir, "disk"), sector: of["logical_sector_size"]}}
	if of["state"] != "active" {
		return nil, errors.New(strings.TrimSuffix(fmt.Sprintf("%s is in state %s: %s", m.name, of["state"], of["error"]), ": "))
	}
	if err := m.describe(dir); err != nil {
		return nil, err
	}
	switch isImage := filepath.Base(filepath.Dir(dir)) == "images"; {
	case isImage && (of["format"] == "iso" || m.meta["type"] == "iso"):
		m.cdroms, m.disk = []string{m.disk}, ""
	case isImage:
		m.clones, m.volume = filepath.Join(dir, "ctl"), m.name+"-run"
	}
	for _, cdrom := range cdroms {
		disk, err := c.image(cdrom, "disk")
		if err != nil {
			return nil, err
		}
		m.cdroms = append(m.cdroms, disk)
	}
	return m, nil
}

// print shows the command, between what makes and what deletes the clone: a script for a shell.
func (m *machine) print(env *environment) error {
	var before, after string
	if m.clones != "" {
		made, deleted := m.clone(m.volume)
		before = fmt.Sprintf("echo %s >%s\n", shellWord(command.Quote("clone", m.volume)), shellWord(made))
		after = fmt.Sprintf("echo delete >%s\n", shellWord(deleted))
	}
	words, err := m.command()
	if err == nil {
		_, err = fmt.Fprintf(env.stdout, "%s%s\n%s", before, shellCommand(words), after)
	}
	return err
}

// clone names the clone, which is the disk from then on: the control files by which it is made and deleted.
func (m *machine) clone(volume string) (made, deleted string) {
	dir := filepath.Join(m.clones, "../../../volumes", volume)
	m.volume, m.disk = volume, filepath.Join(dir, "disk")
	return m.clones, filepath.Join(dir, "ctl")
}

// run boots it, and returns when it has ended.
func (m *machine) run(ctx context.Context, env *environment, c *client) (err error) {
	signals, stop := env.signals()
	defer stop()
	if m.clones != "" {
		made, deleted := m.clone(fmt.Sprintf("%s-%d", m.volume, os.Getpid())) // two of one image do not meet
		if err := c.command(made, "clone", m.volume); err != nil {
			return err
		}
		defer func() {
			if left := c.command(deleted, "delete"); left != nil {
				err = fmt.Errorf("the volume %q is left: %w", m.volume, left)
			}
		}()
	}
	words, err := m.command()
	if err != nil {
		return err
	}
	return wait(ctx, env, signals, exec.Command(words[0], words[1:]...))
}

// wait runs a command on this process's own terminal, and hands it the requests to stop.
func wait(ctx context.Context, env *environment, signals <-chan os.Signal, cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.stdin, env.stdout, env.stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: it is QEMU's, in Debian's package qemu-system-x86", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	asked := false // to stop; the context may learn of the signal later than the machine ends by it
	for {
		select {
		case s := <-signals:
			asked = true
			cmd.Process.Signal(s) // an error means that it has ended
		case err := <-ended:
			var exit *exec.ExitError
			switch {
			case asked || ctx.Err() != nil:
				return context.Canceled
			case errors.As(err, &exit) && exit.ExitCode() > 0:
				return verdict(exit.ExitCode()) // it has said why
			}
			return err
		}
	}
}
