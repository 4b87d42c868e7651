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

// updateVariable makes golden files of what the program writes now, in place of comparing with them.
const updateVariable = "IMSFS_UPDATE_GOLDEN"

// TestGoldenOutputs: what is written today is what was written before, byte for byte, so that digests of images stay. A change here
// is one that users notice.
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
			do(t, "env", append([]string{"SOURCE_DATE_EPOCH=1500000000", program}, args...)...)
			got, err := os.ReadFile(written)
			if err != nil {
				t.Fatal(err)
			}
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

// goldenDisk has a little of everything, in three blocks of the largest formats and an odd end.
func goldenDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(5*mib + 512); err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("what is written today is what was written before. ", 400))
	noise := make([]byte, 3000) // by a formula of our own, which no library changes
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

// Golden files are packed, as formats without compression have much that is empty.
func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeGolden(t *testing.T, path string, content []byte) {
	t.Helper()
	cmd := exec.Command("gzip", "-9n")
	cmd.Stdin = bytes.NewReader(content)
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// payloads prints the plain bytes of the stored blocks of a ZVHD or ZVHD2 image, decoded by Debian's libraries and tools: the
// chunks are found and taken apart as docs/formats says.
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
assert data[at:at+8] == data[:8], "no header behind the chunks"
`

// TestPayloadsDecodeWithOthersTools: what is in the chunks is zstd and zlib as Debian's zstd and zlib read them.
func TestPayloadsDecodeWithOthersTools(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.raw")
	m := makeModel(t, disk, 5*mib+512, 31)
	for _, format := range []string{"zvhd", "zvhd2"} {
		for _, level := range []string{"0", "9"} {
			t.Run(format+" level "+level, func(t *testing.T) {
				image, decoded := filepath.Join(dir, format+level), filepath.Join(dir, format+level+".raw")
				do(t, program, "convert", "-f", "raw", "-O", format, "--level", level, disk, image)
				do(t, "truncate", "-s", "0", decoded)
				do(t, "python3", "-c", payloads, image, decoded)
				do(t, "truncate", "-s", "6M", decoded)
				do(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", m.path, decoded)
			})
		}
	}
}
