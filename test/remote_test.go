package test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// web serves the files of a directory, and counts requests for ranges.
func web(t *testing.T, dir string) (server *httptest.Server, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	files := http.FileServer(http.Dir(dir))
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, requests
}

// TestRemoteImage: an image on a web server is registered, read and kept like one in a file.
func TestRemoteImage(t *testing.T) {
	p := newPlace(t)
	m := makeModel(t, p.file("base.raw"), 8*mib, 5)
	mustRun(t, program, "convert", "-O", "qcow2", m.path, p.file("base.qcow2"))
	want, err := os.ReadFile(m.path)
	must(t, err)
	server, requests := web(t, p.dir)
	url := server.URL
	d := p.serve(t, "--allow-url", url+"/base.qcow2")

	for source, says := range map[string]string{
		url + "/base.raw":                    "--allow-url",
		url + "/base.qcow2?signature=secret": "query",
		"http://169.254.169.254/latest/":     "--allow-url",
		"https://user:secret@127.0.0.1/x":    "password",
		"ftp://127.0.0.1/base.qcow2":         "not supported",
	} {
		err := p.command("", "register refused "+source)
		sentence := p.lastError(t, "")
		if err == nil || !strings.Contains(sentence, says) || strings.Contains(sentence, "secret") {
			t.Errorf("register %s: %v, %q, want %q and no secret", source, err, sentence, says)
		}
	}

	p.register(t, "web", url+"/base.qcow2")
	got, err := os.ReadFile(p.disk("web"))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the disk is not that of the source")
	}
	mustRun(t, program, "hydrate", "web", "--mount", p.mnt)
	d.stop(t)

	before := requests.Load()
	p.serve(t)
	got, err = os.ReadFile(p.disk("web"))
	must(t, err)
	if n := requests.Load() - before; n != 0 || !bytes.Equal(got, want) {
		t.Errorf("a disk that is complete in the store took %d requests", n)
	}
}

// TestRemoteImageWhoseHostIsDown: stored blocks are read while the host is down, by the next daemon too.
func TestRemoteImageWhoseHostIsDown(t *testing.T) {
	p := newPlace(t)
	m := makeModel(t, p.file("base.raw"), 8*mib, 5)
	mustRun(t, program, "convert", "-O", "qcow2", m.path, p.file("base.qcow2"))
	want, err := os.ReadFile(m.path)
	must(t, err)
	server, _ := web(t, p.dir)
	d := p.serve(t, "--allow-url", server.URL)
	p.register(t, "web", server.URL+"/base.qcow2")
	p.mustImsfs(t, "prefetch", "web", "0", "1MiB")
	d.stop(t)
	server.Close()

	p.serve(t, "--allow-url", server.URL)
	f, err := os.Open(p.disk("web"))
	must(t, err)
	defer f.Close()
	got := make([]byte, 64<<10)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, want[:len(got)]) {
		t.Error("a stored block has wrong bytes")
	}
}
