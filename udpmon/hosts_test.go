package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

func addrs(pairs ...string) map[string]netip.Addr {
	out := map[string]netip.Addr{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = netip.MustParseAddr(pairs[i+1])
	}
	return out
}

// shown writes messages as "topic=payload" in one line.
func shown(messages []bus.Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Topic+"="+string(m.Payload))
	}
	return strings.Join(out, " ")
}

// mapBed is a map of hosts with what the test does to it.
type mapBed struct {
	*heard
	t testing.TB
	c *clock
}

func newMap(t testing.TB, path string) mapBed {
	t.Helper()
	c := newClock()
	h, err := loadHeard(path, c.now())
	if err != nil {
		t.Fatal(err)
	}
	return mapBed{h, t, c}
}

// list is udpsrv's list at the end of a sweep, report a single answer, and aged what age says then.
func (m mapBed) list(want string, pairs ...string) {
	m.t.Helper()
	if got := shown(m.add(addrs(pairs...), true, m.c.now())); got != want {
		m.t.Errorf("add(%v) = %q, want %q", pairs, got, want)
	}
}

func (m mapBed) report(name, addr string) {
	m.t.Helper()
	m.add(addrs(name, addr), false, m.c.now())
}

func (m mapBed) aged(want string) {
	m.t.Helper()
	if got := shown(m.age(m.c.now())); got != want {
		m.t.Errorf("age() = %q, want %q", got, want)
	}
}

func TestMapOfHosts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heard.json")
	m := newMap(t, path)
	m.sweep("1", m.c.now())
	m.list("/pi1=10.0.0.1 /pi2=10.0.0.2", "pi1", "10.0.0.1", "pi2", "10.0.0.2")
	m.list("", "pi1", "10.0.0.1")
	m.list("/pi1=10.0.0.9", "pi1", "10.0.0.9") // a new lease
	m.list("/pi1=10.0.0.1", "pi1", "::ffff:10.0.0.1")
	m.list("", "a/b", "10.0.0.3", "#", "10.0.0.3", "", "10.0.0.3", "pi3", "fe80::1%eth0", "pi4", "0.0.0.0", "pi5", "224.0.0.1", "pi6", "255.255.255.255")
	if !m.has("pi2") || m.has("pi3") {
		t.Error("has is wrong")
	}
	if err := m.save(); err != nil {
		t.Fatal(err)
	}

	// A restart knows what it has to take away.
	again := newMap(t, path)
	if got := shown(again.all()); got != "/pi1=10.0.0.1 /pi2=10.0.0.2" {
		t.Errorf("after a restart the map is %q", got)
	}
	again.c.pass(hostLifetime - time.Second)
	again.aged("")
	again.c.pass(time.Second)
	again.aged("/pi1= /pi2=")
	if err := again.save(); err != nil {
		t.Fatal(err)
	}
	if got := shown(newMap(t, path).all()); got != "" {
		t.Errorf("after the end of all hosts the file has %q", got)
	}
}

// A host that three sweeps running have not heard is taken off, with the third; one that only some were asked about is not.
func TestMapAfterThreeSweeps(t *testing.T) {
	t.Parallel()
	m := newMap(t, filepath.Join(t.TempDir(), "heard.json"))
	m.sweep("1", m.c.now())
	m.list("/pi1=10.0.0.1 /pi2=10.0.0.2", "pi1", "10.0.0.1", "pi2", "10.0.0.2")
	for range 10 { // sweeps of one host alone
		m.list("", "pi1", "10.0.0.1")
		m.aged("")
	}
	for i, want := range []string{"", "", "/pi2="} {
		m.sweep(reports.ID(fmt.Sprint(2+i)), m.c.now())
		m.sweep(reports.ID(fmt.Sprint(2+i)), m.c.now()) // heard on a second network
		m.list("", "pi1", "10.0.0.1")
		m.aged(want)
	}
	// Once it is back it has three again, and a list in two parts counts once.
	m.list("/pi2=10.0.0.2", "pi2", "10.0.0.2")
	for i, want := range []string{"", "", "/pi2="} {
		m.sweep(reports.ID(fmt.Sprint(10+i)), m.c.now())
		m.list("")
		m.list("", "pi1", "10.0.0.1")
		m.aged(want)
	}
}

// Sweeps of which no list comes, only reports, end with the next one or after a while.
func TestMapFromReports(t *testing.T) {
	t.Parallel()
	m := newMap(t, filepath.Join(t.TempDir(), "heard.json"))
	m.sweep("", m.c.now())
	m.report("pi1", "10.0.0.1")
	m.report("pi2", "10.0.0.2")
	for range 2 {
		m.sweep("", m.c.now())
		m.report("pi1", "10.0.0.1")
		m.report("pi1", "10.0.0.1")
		m.aged("")
	}
	m.sweep("", m.c.now())
	m.aged("") // pi2 may still answer this one
	m.report("pi1", "10.0.0.1")
	m.c.pass(sweepAnswers)
	m.aged("/pi2=")
	m.aged("")
}

func TestMapOfHostsIsBounded(t *testing.T) {
	t.Parallel()
	m := newMap(t, filepath.Join(t.TempDir(), "heard.json"))
	many := map[string]netip.Addr{}
	for i := range maxHosts + 100 {
		many[fmt.Sprint("h", i)] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	if got := len(m.add(many, true, m.c.now())); got != maxHosts {
		t.Errorf("%d hosts on the map, want %d", got, maxHosts)
	}
}

func TestDamagedMap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heard.json")
	for doc, want := range map[string]string{
		`{"pi1": "10.0.`: "", `[]`: "", `{"pi1": 7}`: "", ``: "",
		`{"pi1":"10.0.0.1","a/b":"10.0.0.2","pi3":""}`: "/pi1=10.0.0.1",
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := loadHeard(path, time.Now())
		if (err == nil) != (want != "") || shown(h.all()) != want {
			t.Errorf("loadHeard of %q = %q, %v, want %q", doc, shown(h.all()), err, want)
		}
		h.add(addrs("pi9", "10.0.0.9"), false, time.Now())
		if err := h.save(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := loadHeard(path, time.Now())
	if err == nil {
		t.Error("a folder in place of the file is no error")
	}
	h.add(addrs("pi9", "10.0.0.9"), false, time.Now())
	if h.save() == nil || !h.dirty {
		t.Error("what could not be saved counts as saved")
	}
}
