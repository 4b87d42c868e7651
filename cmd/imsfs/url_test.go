package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsReadURLs holds each command on an image file to what it prints of the same file on disk.
func TestCommandsReadURLs(t *testing.T) {
	dir := t.TempDir()
	raw := writeDisk(t, filepath.Join(dir, "disk.raw"), 5<<20, extent{5000, 100_000}, extent{3 << 20, 1 << 20})
	c := newConsole()
	for _, format := range []string{"qcow2", "vmdk", "vhdx", "vdi", "zvhd2"} {
		c.expect(t, 0, "convert", "-O", format, raw, filepath.Join(dir, "disk."+format))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, format := range []string{"raw", "qcow2", "vmdk", "vhdx", "vdi", "zvhd2"} {
		path, url := filepath.Join(dir, "disk."+format), server.URL+"/disk."+format
		t.Run(format, func(t *testing.T) {
			for _, args := range [][]string{{"map", "-f", format}, {"digest", "-f", format}, {"check", "-f", format}} {
				if format == "raw" && args[0] != "digest" || format == "vhdx" && args[0] == "map" {
					continue // a file system knows holes, a web server does not; a raw disk has nothing to check
				}
				c := newConsole()
				c.expect(t, 0, append(args, path)...)
				want := strings.ReplaceAll(c.out.String(), path, url)
				c = newConsole()
				c.expect(t, 0, append(args, url)...)
				if c.out.String() != want {
					t.Errorf("%v:\n%s\nwant\n%s", args, &c.out, want)
				}
			}
			c := newConsole()
			c.expect(t, 0, "info", url)
			c.expect(t, 0, "compare", url, raw)
			out := filepath.Join(t.TempDir(), "out")
			c.expect(t, 0, "convert", "-O", "raw", url, out)
			c.expect(t, 0, "compare", raw, out)
		})
	}
	c = newConsole()
	c.expect(t, 1, "info", server.URL+"/missing")
}

// TestBackingImagesBesideAURL are followed by relative URLs of the same directory.
func TestBackingImagesBesideAURL(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	base := writeDisk(t, filepath.Join(dir, "images", "base.raw"), 1<<20, extent{0, 100_000})
	top, climbing := filepath.Join(dir, "images", "top.qcow2"), filepath.Join(dir, "images", "climbing.qcow2")
	for path, name := range map[string]string{top: "base.raw", climbing: "../images/base.raw"} {
		if out, code := qemuImg(t, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", name, path); code != 0 {
			t.Fatal(out)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	c := newConsole()
	c.expect(t, 0, "compare", server.URL+"/images/top.qcow2", base)
	c.expect(t, 2, "compare", server.URL+"/images/climbing.qcow2", base)
}

func TestAllowURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"public": true, "https://h": true, "http://10.0.0.1:8080/images/": true,
		"ftp://h/": false, "/srv": false, "https://u:p@h/": false, "https://h/?q": false,
	} {
		if _, err := parsePolicy([]string{text}); (err == nil) != ok {
			t.Errorf("--allow-url %s: %v, want it taken: %v", text, err, ok)
		}
	}
}
