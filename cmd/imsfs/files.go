package main

import (
	"bufio"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pair is a "key value" line of a status.
type pair struct{ key, value string }

// readStatus reads a file of "key value" lines.
func readStatus(path string) ([]pair, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var pairs []pair
	s := bufio.NewScanner(f)
	for s.Scan() {
		key, value, _ := strings.Cut(s.Text(), " ")
		pairs = append(pairs, pair{key, value})
	}
	return pairs, s.Err()
}

// readTexts reads a directory of files that each hold one line, as meta and tags are.
func readTexts(dir string) ([]pair, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for _, e := range entries {
		value, err := readLine(filepath.Join(dir, e.Name()))
		if errors.Is(err, iofs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{e.Name(), value})
	}
	return pairs, nil
}

func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSuffix(string(b), "\n"), err
}
