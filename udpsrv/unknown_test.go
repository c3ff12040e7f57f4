package main

import (
	"strings"
	"testing"

	"rollcall/internal/bus/bustest"
)

// A service that the host does not have is said at once, with what it has; a new one is found although the cache has none of
// it.
func TestUnknownService(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, (&device{}).answer)
	h := hostNamed("pizero2", 1, url)
	all := h.Services
	h.Services = all[1:]
	r, l := boot(t, h, nil), newLaptop(t)
	want := "udpsrv: pizero2 has no service \"gpio\"; it has hostsensor\n"
	for _, args := range [][]string{{"--to", r.addr}, nil} { // swept, then by the cache, which knows where to ask
		if _, stderr := l.want(exitFail, append([]string{"get", "--timeout", "1m", "pizero2/gpio/input/door"}, args...)...); stderr != want {
			t.Errorf("stderr %q, want %q", stderr, want)
		}
	}
	if stdout, _ := l.want(exitOK, "get", "--broker", url, "pizero2/gpio/input/door"); stdout != "ON\n" {
		t.Errorf("with --broker: %q", stdout)
	}
	l.want(exitOK, "sweep", "--to", r.addr) // forgets what the broker said
	h.Services = all
	r.Update(h)
	if stdout, _ := l.want(exitOK, "get", "pizero2/gpio/input/door"); stdout != "ON\n" {
		t.Errorf("once it is there: %q", stdout)
	}
	// A host that names none says nothing of them.
	h.Services = nil
	r.Update(h)
	if stdout, _ := l.want(exitOK, "get", "--to", r.addr, "pizero2/gpio/input/door"); stdout != "ON\n" {
		t.Errorf("of a host that lists none: %q", stdout)
	}
}

func TestUnknownHosts(t *testing.T) {
	t.Parallel()
	a, b := boot(t, hostNamed("pizero2", 0xaa, "tcp://127.0.0.1:1"), nil), boot(t, hostNamed("pizero2", 0xbb, "tcp://127.0.0.1:1"), nil)
	l, to := newLaptop(t), "--to="+a.addr+","+b.addr // both answer: no sweep takes its whole second
	_, stderr := l.want(exitFail, "get", to, "pizero2/gpio")
	want := `udpsrv: 2 hosts are meant by "pizero2": aa01020304050607 (pizero2) at 127.0.0.1, bb01020304050607 (pizero2) at 127.0.0.1; name one by its id or address` + "\n"
	if stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	// By its id it is told apart; its broker does not answer.
	if _, stderr = l.want(exitFail, "get", to, "bb0102/gpio"); !strings.HasPrefix(stderr, "udpsrv: connect to tcp://127.0.0.1:1: ") {
		t.Errorf("stderr %q", stderr)
	}
	if _, stderr = l.want(exitFail, "get", to, "nobody/gpio"); !noHost.MatchString(stderr) {
		t.Errorf("stderr %q", stderr)
	}
	if _, stderr = l.want(exitFail, "get", "--broker", "127.0.0.1:1", "10.9.9.9/gpio"); !strings.Contains(stderr, "name the host by its hostname") {
		t.Errorf("stderr %q", stderr)
	}
	none := boot(t, hostNamed("bare", 0xcc), nil)
	if _, stderr = l.want(exitFail, "get", "--to", none.addr, "bare/gpio"); stderr != "udpsrv: bare names no broker\n" {
		t.Errorf("stderr %q", stderr)
	}
}
