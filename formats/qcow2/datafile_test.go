package qcow2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// dataFiles are files that images name.
type dataFiles map[string]formats.Source

func (f dataFiles) Open(_ context.Context, name string) (formats.Source, error) {
	if src := f[name]; src != nil {
		return src, nil
	}
	return nil, fmt.Errorf("%s: %w", name, iofs.ErrNotExist)
}

// TestExternalDataFiles reads what a guest does to a disk whose clusters are in a file of their own.
func TestExternalDataFiles(t *testing.T) {
	for i, opts := range []string{"compat=1.1", "data_file_raw=on", "cluster_size=4k", "extended_l2=on", "data_file_raw=on,extended_l2=on,cluster_size=16k", "preallocation=metadata"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := t.TempDir()
			path, data := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "disk.data")
			formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+data+","+opts, path, "1047040")
			formattest.QemuIO(t, path, "write -P 1 0 1000", "write -P 2 200k 3k", "write -z 201k 1k", "write -P 3 1020k 2560", "write -P 4 64k 64k", "discard 64k 64k")
			raw := path + ".raw"
			formattest.Qemu(t, "qemu-img", "convert", "-O", "raw", path, raw)
			for name, src := range map[string]formats.Source{
				"dense": formattest.Bytes(formattest.ReadFile(t, data)), "with holes": formattest.Holey{Bytes: formattest.ReadFile(t, data)},
			} {
				beside := formats.OpenOptions{Files: dataFiles{data: src}}
				img := formattest.Open(t, newDriver(), formattest.ReadFile(t, path), beside)
				if got := formattest.ReadAll(t, img); !bytes.Equal(got, formattest.ReadFile(t, raw)) {
					t.Errorf("%s: the disk differs from qemu-img's", name)
				}
				if got, want := fmt.Sprint(formattest.Map(t, img)), fmt.Sprint(formattest.QemuMap(t, path)); name == "dense" && i != 1 && got != want {
					t.Errorf("map\n%v, want\n%v", got, want)
				}
				formattest.WantProblems(t, formattest.Problems(t, newDriver(), formattest.Bytes(formattest.ReadFile(t, path)), beside))
			}
			image := formattest.Bytes(formattest.ReadFile(t, path))
			_, err := newDriver().Open(t.Context(), image, formats.OpenOptions{})
			formattest.WantError(t, err, errors.ErrUnsupported, data)
			_, err = newDriver().Open(t.Context(), image, formats.OpenOptions{Files: dataFiles{}})
			formattest.WantError(t, err, iofs.ErrNotExist, data)
			cut := dataFiles{data: formattest.Bytes(formattest.ReadFile(t, data)[:512])}
			img := formattest.Open(t, newDriver(), image, formats.OpenOptions{Files: cut})
			if err := img.ReadAt(t.Context(), make([]byte, 3<<10), 200<<10); !errors.Is(err, formats.ErrCorrupt) {
				t.Errorf("a data file that was cut: %v", err)
			}
		})
	}
}
