package http

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"github.com/imsfs/imsfs/lazyload/source"
)

// Policy says which hosts are fetched from. The zero value permits none.
type Policy struct {
	// Prefixes are URLs that a source's own, and that of each redirect, may begin with, for example
	// "https://images.example.org/debian/". A prefix without a path is a whole host. Its host may have
	// a private address.
	Prefixes []source.Location
	// Public permits all hosts with public addresses, at the usual ports.
	Public bool
	// Any permits all addresses but link-local ones: for a user's own commands.
	Any bool
}

// check refuses a URL that policy does not permit. It does not resolve the host.
func (p Policy) check(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return source.Refuse("the scheme %q is not fetched from", u.Scheme)
	case u.User != nil:
		return source.Refuse("a URL with a password is not fetched from")
	case p.Any || p.prefixed(u):
		return nil
	case !p.Public:
		return source.Refuse("the host %s is not fetched from: --allow-url lists what may be", u.Host)
	case u.Port() != "" && u.Port() != "80" && u.Port() != "443":
		return source.Refuse("the port %s is not fetched from: --allow-url lists what may be", u.Port())
	}
	return nil
}

func (p Policy) prefixed(u *url.URL) bool {
	path := u.EscapedPath()
	if strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") || strings.Contains(strings.ToLower(path), "%2e%2e") {
		return false
	}
	for _, l := range p.Prefixes {
		if l.Scheme == u.Scheme && l.Host == strings.ToLower(u.Host) && within(l.Path, path) {
			return true
		}
	}
	return false
}

// within reports whether a path is a directory or lies in it: "/a" has "/a/b", but not "/ab".
func within(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || strings.HasSuffix(dir, "/") || rest[0] == '/')
}

// lists reports whether a prefix has the host and port of an address that is dialled.
func (p Policy) lists(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	for _, l := range p.Prefixes {
		u, err := url.Parse(l.URL())
		if err != nil || !strings.EqualFold(u.Hostname(), host) {
			continue
		}
		if u.Port() == port || u.Port() == "" && (port == "80" && l.Scheme == "http" || port == "443" && l.Scheme == "https") {
			return true
		}
	}
	return false
}

// control returns the check of an address before it is connected to.
func (p Policy) control(listed bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return source.Refuse("the address %q is not fetched from", address)
		}
		ip := at.Addr().Unmap().WithZone("")
		switch {
		case ip.IsLinkLocalUnicast(), metadata[ip]: // where clouds keep the host's credentials
			return source.Refuse("the address %s is link-local and never fetched from", ip)
		case p.Any || listed || public(ip):
			return nil
		}
		return source.Refuse("the address %s is not public: --allow-url lists what may be fetched from", ip)
	}
}

// metadata are services of clouds that have a usual address.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"): true,
}

// reserved are ranges that the net/netip package takes for global.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),   // IPv4 by translation
	netip.MustParsePrefix("64:ff9b:1::/48"), // the same, for private use
	netip.MustParsePrefix("2002::/16"),      // IPv4 by a tunnel
	netip.MustParsePrefix("2001::/32"),      // the same
	netip.MustParsePrefix("::/96"),
}

func public(ip netip.Addr) bool {
	for _, r := range reserved {
		if r.Contains(ip) {
			return false
		}
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}
