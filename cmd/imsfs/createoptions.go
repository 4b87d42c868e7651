package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
)

// choiceHelp in place of K=V asks for those that there are.
const choiceHelp = "help"

// choicesFlag adds the flag for the options of the written format.
func choicesFlag(cmd *cobra.Command, words *[]string) {
	cmd.Flags().StringArrayVarP(words, "option", "o", nil, "`K=V[,K=V…]`: options of DST's format (can be repeated); help lists them")
}

// splitChoices takes apart what -o was given.
func splitChoices(flags []string) []string {
	var words []string
	for _, f := range flags {
		words = append(words, strings.Split(f, ",")...)
	}
	return words
}

func asksForChoices(flags []string) bool { return slices.Contains(splitChoices(flags), choiceHelp) }

func listChoices(env *environment, format string) error {
	creator, err := env.formats.Creator(format)
	if err != nil {
		return err
	}
	known := creator.Options()
	if len(known) == 0 {
		fmt.Fprintf(env.stdout, "%s: the format has no options\n", format)
		return nil
	}
	out := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, o := range known {
		fmt.Fprintf(out, "%s=\t%s\n", o.Key, o.Help)
	}
	return out.Flush()
}

// newEncoder prepares writing the disk img to the file dst in a format. flags are the values of -o.
func newEncoder(env *environment, format string, level int, flags []string, img *imageFile, dst string) (formats.Encoder, error) {
	creator, err := env.formats.Creator(format)
	if err != nil {
		return nil, err
	}
	opts := formats.CreateOptions{Level: level, Name: filepath.Base(dst), SectorSize: img.Info().SectorSize}
	if opts.Timestamp, err = creationTime(env, img); err != nil {
		return nil, err
	}
	if err := opts.Choose(format, creator.Options(), splitChoices(flags)); err != nil {
		return nil, err
	}
	if opts.UUID == [16]byte{} {
		opts.UUID = derivedUUID(img, opts.Timestamp)
	}
	return env.formats.Create(format, img.Info().Size, opts)
}

// warnOfSectors tells on stderr that the format does not record the size of the disk's sectors, if
// that matters.
func warnOfSectors(env *environment, format string, img *imageFile) error {
	size := img.Info().SectorSize
	if size == formats.SectorSize {
		return nil
	}
	creator, err := env.formats.Creator(format)
	if err != nil {
		return err
	}
	if _, keeps := creator.(formats.SectorKeeper); !keeps {
		fmt.Fprintf(env.stderr, "imsfs: warning: the disk has logical sectors of %d bytes and %s does not record that: attach it with logical_block_size=%d, or its guest finds no partitions\n",
			size, format, size)
	}
	return nil
}

// creationTime returns the time to record, in seconds since 1970. The present is not recorded, because
// the same input must give the same bytes.
func creationTime(env *environment, img *imageFile) (int64, error) {
	const name = "SOURCE_DATE_EPOCH"
	value := env.getenv(name)
	if value == "" && img.path == standardStream {
		return 0, nil // when its bytes came has no bearing on them
	}
	if value == "" {
		return img.file().Identity().ModTime / int64(time.Second), nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return 0, fmt.Errorf("the environment's %s=%q is not a number of seconds", name, value)
	}
	return seconds, nil
}

// derivedUUID returns a UUID that depends on facts known before the content is read.
func derivedUUID(img *imageFile, created int64) [16]byte {
	name := img.file().Base()
	if img.path == standardStream {
		name = standardStream // the file that keeps the stream has another name each time
	}
	return formats.DeriveUUID(name, img.file().Size(), img.Info().Size, created)
}
