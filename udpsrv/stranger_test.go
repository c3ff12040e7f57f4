package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// bystander listens, and fails the test if anybody connects. It returns the port.
func bystander(t *testing.T) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Errorf("%s connected to a broker that is not on the host itself", c.RemoteAddr())
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	if _, port, err = net.SplitHostPort(ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return port
}

// refuses fails unless every command that speaks to a service ends with the line that says why the broker is not used.
func (l *laptop) refuses(host, broker string, args ...string) {
	l.t.Helper()
	want := "udpsrv: broker " + broker + " of " + host + " is not on the host itself: if you trust it, name it with --broker " + broker + "\n"
	for _, command := range [][]string{{"get", host + "/gpio"}, {"set", host + "/gpio/p", "1"}, {"control", host + "/gpio", "x"}, {"setup", host + "/gpio"}} {
		if _, stderr := l.want(exitFail, append(command, args...)...); stderr != want {
			l.t.Errorf("%q: stderr %q, want %q", command, stderr, want)
		}
	}
}

// Nobody is connected to, and no name is looked up, because a reply says so: not even by the sweep itself, which tells the
// broker of its own machine who was heard.
func TestBrokerOfReplyIsNotOnTheHost(t *testing.T) {
	t.Parallel()
	third := "tcp://LOCALHOST:" + bystander(t) // a name; looked up it would be this machine
	r, l := boot(t, hostNamed("evil", 1, third, "tcp://192.0.2.5:22"), nil), newLaptop(t)
	l.want(exitOK, "sweep", "--to", r.addr)
	l.refuses("evil", third, "--to", r.addr)
}

// The same for the cache, which others may have filled.
func TestBrokerOfCacheIsNotOnTheHost(t *testing.T) {
	t.Parallel()
	third := "tcp://LOCALHOST:" + bystander(t)
	r, l := boot(t, hostNamed("evil", 1, "tcp://192.0.2.5:22"), nil), newLaptop(t)
	l.want(exitOK, "sweep", "--to", r.addr)
	var c cache
	if err := readJSON(l.cache, maxCacheBytes, &c); err != nil {
		t.Fatal(err)
	}
	c.Hosts[0].Brokers = []string{third, "tcp://192.0.2.6:1"}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Clean(l.cache), b, 0o600); err != nil {
		t.Fatal(err)
	}
	l.refuses("evil", "tcp://192.0.2.5:22", "--to", r.addr)
}
