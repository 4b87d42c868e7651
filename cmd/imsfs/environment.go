package main

import (
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/imsfs/imsfs/formats"
)

// environment is what a command meets besides its arguments, so that it can be run without a process of its own.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stderr is one
	getenv         func(key string) string
	now            func() time.Time
	// signals delivers the requests to stop, each of them, until stop is called: the context of a command only
	// knows the first.
	signals func() (requests <-chan os.Signal, stop func())
	formats formats.Set
}

// writeJSON prints a value for scripts.
func (e *environment) writeJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "    ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
