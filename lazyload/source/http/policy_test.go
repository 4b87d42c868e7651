package http

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/lazyload/source"
)

func TestAddressesThatAreRefused(t *testing.T) {
	public := Policy{Public: true}
	for _, ip := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "169.254.169.254", "169.254.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "::127.0.0.1",
	} {
		if err := public.control(false)("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), 443).String(), nil); !errors.Is(err, errPermission) {
			t.Errorf("%s: %v, want a refusal", ip, err)
		}
	}
	for _, ip := range []string{"93.184.216.34", "2606:2800::1"} {
		if err := public.control(false)("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), 443).String(), nil); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for _, ip := range []string{"169.254.169.254", "fe80::1"} {
		for _, p := range []Policy{{Any: true}, public} {
			if err := p.control(true)("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), 80).String(), nil); err == nil {
				t.Errorf("%s is connected to", ip)
			}
		}
	}
}

func TestPolicyOfURLs(t *testing.T) {
	p := Policy{Prefixes: []source.Location{location(t, "https://images.example/debian"), location(t, "http://10.1.2.3:8080/")}}
	for text, ok := range map[string]bool{
		"https://images.example/debian/12.qcow2":       true,
		"https://images.example/debian":                true,
		"https://images.example/debian-private/x":      false,
		"https://images.example/debian/../x":           false,
		"https://images.example/debian/%2e%2e/x":       false,
		"http://images.example/debian/12.qcow2":        false,
		"https://images.example:444/debian/12.qcow2":   false,
		"https://images.example.evil/debian/12.qcow2":  false,
		"http://10.1.2.3:8080/x":                       true,
		"http://10.1.2.3/x":                            false,
		"https://user:password@images.example/debian/": false,
		"file:///etc/passwd":                           false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.check(u); (err == nil) != ok {
			t.Errorf("%s: %v, want it permitted: %v", text, err, ok)
		}
	}
}

// A redirect, or a name that resolves to a private address, leads nowhere.
func TestNothingConnectsToARefusedAddress(t *testing.T) {
	inner := newServer(t, 1000)
	outer := newServer(t, 1000)
	outer.lie = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, inner.URL+"/secret", http.StatusFound)
		return true
	}
	listed := kind(t, Config{Policy: Policy{Prefixes: []source.Location{outer.at(t, "/")}}})
	if _, err := listed.Open(t.Context(), outer.at(t, "/disk")); !errors.Is(err, errPermission) {
		t.Errorf("a redirect to another host: %v, want a refusal", err)
	}
	public := kind(t, Config{Policy: Policy{Public: true}})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(inner.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"} {
		if _, err := public.Open(t.Context(), location(t, "http://"+host+":"+port+"/x")); err == nil {
			t.Errorf("%s was opened", host)
		}
		if _, err := public.Open(t.Context(), location(t, "http://"+host+"/x")); !errors.Is(err, errPermission) {
			t.Errorf("%s: %v, want a refusal", host, err)
		}
	}
	if n := inner.requests.Load(); n != 0 {
		t.Errorf("%d requests reached the inner server", n)
	}
}
