package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// updateVariable makes the tests write golden files instead of comparing with them.
const updateVariable = "IMSFS_UPDATE_GOLDEN"

// TestGoldenOutputs: written files have the same bytes as before, so that hashes of images stay.
// Users notice a change here.
func TestGoldenOutputs(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.raw")
	goldenDisk(t, disk)
	for _, g := range targets {
		t.Run(g.String(), func(t *testing.T) {
			written := filepath.Join(t.TempDir(), "disk."+g.format) // a VMDK records its name
			args := []string{"convert", "-f", "raw", "-O", g.format, disk, written}
			if g.choices != "" {
				args = append(args, "-o", g.choices)
			}
			mustRun(t, "env", append([]string{"SOURCE_DATE_EPOCH=1500000000", program}, args...)...)
			got, err := os.ReadFile(written)
			must(t, err)
			path := filepath.Join("testdata", "golden", strings.NewReplacer(" ", "-", "=", "-", ",", "-").Replace(g.String())+".gz")
			if os.Getenv(updateVariable) != "" {
				writeGolden(t, path, got)
			}
			want := readGolden(t, path)
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("byte %#x is %#x, was %#x", i, got[i], want[i])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d bytes, were %d", len(got), len(want))
			}
		})
	}
}

// goldenDisk writes a disk with some of each kind of content, of three of the largest blocks and an
// odd end.
func goldenDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(5*mib+512))
	text := []byte(strings.Repeat("what is written today is what was written before. ", 400))
	noise := make([]byte, 3000) // by our own formula, so that no library can change it
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	for off, p := range map[int64][]byte{0: noise, 70_000: text, 2*mib - 700: text, 5 * mib: noise[:512]} {
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
}

// Golden files are packed, because files of formats without compression are mostly empty.
func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	z, err := gzip.NewReader(bytes.NewReader(b))
	must(t, err)
	content, err := io.ReadAll(z)
	must(t, err)
	return content
}

func writeGolden(t *testing.T, path string, content []byte) {
	t.Helper()
	cmd := exec.Command("gzip", "-9n")
	cmd.Stdin = bytes.NewReader(content)
	b, err := cmd.Output()
	must(t, err)
	must(t, os.WriteFile(path, b, 0o644))
}

// payloads is a Python program that finds the chunks of a ZVHD or ZVHD2 image by the layout in
// docs/formats, and prints their plain bytes, decoded by Debian's libraries and tools.
const payloads = `
import struct, subprocess, sys, zlib
data = open(sys.argv[1], "rb").read()
stream, at = zlib.decompressobj(), 4096
while data[at:at+12] == b"hwstream bg\0":
    size, block = struct.unpack_from("<II", data, at + 12)
    packed = data[at+48:at+48+size]
    length = (48 + size + 4 + 4095) // 4096 * 4096
    assert data[at+length-4:at+length] == b"end\0", "no trailer"
    if data[:8] == b"z2strm\0\0":
        plain = subprocess.run(["zstd", "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout
    else:
        plain = stream.decompress(packed)
    assert len(plain) == 2 << 20, "block %d has %d bytes" % (block, len(plain))
    with open(sys.argv[2], "r+b") as out:
        out.seek(block << 21)
        out.write(plain)
    at += length
assert data[at:at+8] == data[:8], "no header after the chunks"
`

// TestPayloadsDecodeWithOthersTools: Debian's zstd and zlib decode the chunks.
func TestPayloadsDecodeWithOthersTools(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.raw")
	m := makeModel(t, disk, 5*mib+512, 31)
	for _, format := range []string{"zvhd", "zvhd2"} {
		for _, level := range []string{"0", "9"} {
			t.Run(format+" level "+level, func(t *testing.T) {
				image, decoded := filepath.Join(dir, format+level), filepath.Join(dir, format+level+".raw")
				mustRun(t, program, "convert", "-f", "raw", "-O", format, "--level", level, disk, image)
				mustRun(t, "truncate", "-s", "0", decoded)
				mustRun(t, "python3", "-c", payloads, image, decoded)
				mustRun(t, "truncate", "-s", "6M", decoded)
				mustRun(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", m.path, decoded)
			})
		}
	}
}
