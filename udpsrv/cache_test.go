package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// quietApp is an app with a cache file of its own; its stderr is returned.
func quietApp(t *testing.T) (*app, *bytes.Buffer) {
	t.Helper()
	var errs bytes.Buffer
	return &app{err: &output{w: &errs}, cache: filepath.Join(t.TempDir(), "sub", "hosts.json")}, &errs
}

// sweepOf is a whole sweep that heard the hosts.
func sweepOf(hosts ...discover.Answer) *round {
	rd := &round{roll: newRoll(), whole: true}
	for _, h := range hosts {
		rd.answer(h)
	}
	return rd
}

func names(c *cache) (out []string) {
	for _, e := range c.Hosts {
		out = append(out, fmt.Sprintf("%.2s %s %s", e.ID, e.Hostname, e.Probe))
	}
	return out
}

func TestCacheRoundTrip(t *testing.T) {
	t.Parallel()
	a, errs := quietApp(t)
	c := a.openCache()
	c.learn(sweepOf(heardFrom(hostNamed("pi1", 0xaa, "tcp://10.0.0.1:1883"), "10.0.0.1:37030"),
		heardFrom(hostNamed("pi2", 0xbb), "10.0.0.2:37030")), "home")
	c.describe("aa01020304050607", "pi1", []reports.Service{gpioService()})
	a.save(c)
	info, err := os.Stat(a.cache)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(a.cache), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}

	c = a.openCache()
	if got, want := names(c), []string{"aa pi1 10.0.0.1:37030", "bb pi2 10.0.0.2:37030"}; !slices.Equal(got, want) {
		t.Errorf("hosts = %q, want %q", got, want)
	}
	if got := c.expect("home"); len(got) != 2 || got[0].ID != (discover.ID{0xaa, 1, 2, 3, 4, 5, 6, 7}) ||
		got[0].At.String() != "10.0.0.1:37030" || c.nameOf(got[0].ID) != "pi1" || c.nameOf(discover.ID{1}) != "0100000000000000" {
		t.Errorf("expect = %v", got)
	}
	if got := c.expect("elsewhere"); got != nil {
		t.Errorf("expect elsewhere = %v", got)
	}
	// Points outlive a sweep, which does not tell of them; a host that is gone is expected no more, but stays in the cache.
	c.learn(sweepOf(heardFrom(hostNamed("pi1", 0xaa), "10.0.0.1:37030")), "home")
	if e := matching(c.Hosts, "pi1")[0]; len(e.Services[0].Points) != 4 || !e.Services[0].Points[0].Set || e.Services[0].Points[3].Set {
		t.Errorf("services = %+v", e.Services)
	}
	if len(c.expect("home")) != 1 || len(c.Hosts) != 2 {
		t.Errorf("expect %v of %q", c.expect("home"), names(c))
	}
	// A card written anew: another id at the same place replaces the old entry.
	c.learn(sweepOf(heardFrom(hostNamed("pi1", 0xcc), "10.0.0.1:37030")), "home")
	if got, want := names(c), []string{"cc pi1 10.0.0.1:37030", "bb pi2 10.0.0.2:37030"}; !slices.Equal(got, want) {
		t.Errorf("hosts = %q, want %q", got, want)
	}
	if errs.Len() > 0 {
		t.Errorf("warnings: %s", errs)
	}
}

// What a relay's first request is signed for is remembered, and only what can be right is used.
func TestCachedRelays(t *testing.T) {
	t.Parallel()
	a, _ := quietApp(t)
	c := a.openCache()
	pi := hostNamed("pi1", 0xaa)
	pi.MAC, pi.Key, pi.Open = net.HardwareAddr{2, 0, 0, 0, 0, 7}, make([]byte, 32), false
	heard := heardFrom(pi, "10.9.0.1:37030")
	heard.Bits = 24
	c.learn(sweepOf(heard), "far")
	a.save(c)
	c = a.openCache()
	far := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
	want := discover.Known{ID: pi.ID, At: netip.MustParseAddrPort("10.9.0.1:37030"), Bits: 24, MAC: [6]byte{2, 0, 0, 0, 0, 7}}
	if got := c.relays(far); len(got) != 1 || got[0] != want {
		t.Errorf("relays() = %+v, want %+v", got, want)
	}
	for _, mac := range []string{"", "02:00", "02:00:00:00:00:00:00:07", "x"} {
		c.Hosts[0].MAC = mac
		if got := c.relays(far); len(got) != 1 || got[0].Bits != 0 || got[0].MAC != [6]byte{} {
			t.Errorf("relays() with the MAC %q = %+v, want one without MAC and network", mac, got)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	t.Parallel()
	c := &cache{Last: map[string]lastSweep{}}
	c.put(&host{Found: reports.Found{ID: "00", Hostname: "ancient"}}, time.Now().Add(-2*forgetAfter))
	for i := range maxScopes + 3 {
		c.learn(sweepOf(), fmt.Sprint(i))
	}
	_, newest := c.Last[fmt.Sprint(maxScopes+2)]
	if len(c.Hosts) != 0 || len(c.Last) != maxScopes || !newest {
		t.Errorf("%d hosts, %d scopes, the newest there: %v", len(c.Hosts), len(c.Last), newest)
	}
	half := sweepOf(heardFrom(hostNamed("pi1", 1), "10.0.0.1:1"))
	half.whole = false // interrupted: who did not answer may be there all the same
	c.learn(half, "half")
	if _, ok := c.Last["half"]; ok || len(c.Hosts) != 1 {
		t.Errorf("an interrupted sweep counts as the last one")
	}
}

func TestBadCacheIsIgnored(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "not JSON": "\x00\x01", "wrong type": `{"version":1,"hosts":7}`, "cut": `{"version":1,"hosts":[{"id":`,
		"other version": `{"version":99}`, "too long": `{"version":1}` + strings.Repeat(" ", maxCacheBytes),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, errs := quietApp(t)
			if err := os.MkdirAll(filepath.Dir(a.cache), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(a.cache, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			c := a.openCache()
			if len(c.Hosts) != 0 || c.Last == nil || strings.Count(errs.String(), "\n") != 1 ||
				!strings.HasPrefix(errs.String(), "udpsrv: warning: cache "+a.cache+" is ignored: ") {
				t.Errorf("cache %+v, stderr %q", c, errs)
			}
			errs.Reset()
			a.save(c)
			if a.openCache(); errs.Len() > 0 {
				t.Errorf("after a save: %s", errs)
			}
		})
	}
}

func TestCacheCannotBeSaved(t *testing.T) {
	t.Parallel()
	a, errs := quietApp(t)
	if err := os.WriteFile(filepath.Dir(a.cache), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	a.save(&cache{path: a.cache})
	if !strings.HasPrefix(errs.String(), "udpsrv: warning: cache "+a.cache+" is not saved: ") {
		t.Errorf("stderr %q", errs)
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	all := []entry{{ID: "aaaa000000000000", Hostname: "pi1", IPAddr: "10.0.0.1"}, {ID: "aaaabbbb00000000", Hostname: "pi1", IPAddr: "10.0.0.2"},
		{ID: "cccc000000000000", Hostname: "beef", IPAddr: "10.0.0.3"}, {ID: "beef000000000000", Hostname: "pi4", IPAddr: "10.0.0.4"}}
	for name, want := range map[string]string{
		"pi1": "10.0.0.1 10.0.0.2", "aaaa": "10.0.0.1 10.0.0.2", "AAAAB": "10.0.0.2", "aaa": "", "10.0.0.3": "10.0.0.3",
		"beef": "10.0.0.3", "beef0": "10.0.0.4", "pi": "", "": "", "nope": "",
	} {
		var got []string
		for _, e := range matching(all, name) {
			got = append(got, e.IPAddr)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("matching(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ip            string
		brokers, want []string
		refused       string
	}{
		{"192.0.2.7", []string{"tcp://me:secret@192.0.2.7:1883", "tcp://0.0.0.0:1884", "mqtts://[::ffff:192.0.2.7]"},
			[]string{"tcp://192.0.2.7:1883", "tcp://192.0.2.7:1884", "ssl://[::ffff:192.0.2.7]:8883"}, ""},
		{"192.0.2.7", []string{"tcp://127.0.0.1:1883", "tcp://localhost:1883", "tcp://[::1]:1883", "tcp://[::ffff:127.0.0.1]:1", "http://x"}, nil, ""},
		{"192.0.2.7", []string{"tcp://127.0.0.1:1883", "mqtts://u:secret@central.lan", "tcp://192.0.2.8"}, nil, "ssl://central.lan:8883"},
		{"192.0.2.7", []string{"tcp://192.0.2.8", "tcp://192.0.2.7"}, []string{"tcp://192.0.2.7:1883"}, "tcp://192.0.2.8:1883"},
		{"127.0.0.1", []string{"tcp://127.0.0.1:1883", "tcp://[::1]"}, []string{"tcp://127.0.0.1:1883", "tcp://[::1]:1883"}, ""},
		{"127.0.0.1", []string{"tcp://192.0.2.7:1883"}, nil, "tcp://192.0.2.7:1883"},
		{"127.0.0.1", []string{"tcp://localhost:1883"}, []string{"tcp://127.0.0.1:1883"}, ""}, // not looked up
		{"", []string{"tcp://192.0.2.7:1883", "tcp://0.0.0.0:1883"}, nil, "tcp://192.0.2.7:1883"},
	} {
		var got []string
		brokers, refused := entry{IPAddr: c.ip, Brokers: c.brokers}.reachable()
		for _, b := range brokers {
			if b.User != "" || b.Password != "" {
				t.Errorf("%v has credentials", b)
			}
			got = append(got, b.String())
		}
		if !slices.Equal(got, c.want) || refused != c.refused {
			t.Errorf("reachable of %q at %s = %q, refused %q; want %q and %q", c.brokers, c.ip, got, refused, c.want, c.refused)
		}
	}
}

func TestUsable(t *testing.T) {
	t.Parallel()
	const other = "192.0.2.7"
	loopback := "broker of pi1 listens on loopback only; set `broker: {listen: 0.0.0.0:1883}` in its rollcall.yaml"
	hub := "broker tcp://hub:1883 of pi1 is not on the host itself: if you trust it, name it with --broker tcp://hub:1883"
	for _, c := range []struct {
		e    entry
		want string
	}{
		{entry{Hostname: "pi1", IPAddr: other, LoopbackOnly: true}, loopback},
		{entry{Hostname: "pi1", IPAddr: other, Brokers: []string{"tcp://127.0.0.1:1883"}}, loopback},
		{entry{Hostname: "pi1", IPAddr: other, LoopbackOnly: true, Brokers: []string{"tcp://hub"}}, hub},
		{entry{Hostname: "pi1", IPAddr: other, Brokers: []string{"tcp://127.0.0.1:1883", "tcp://hub"}}, hub},
		{entry{Hostname: "pi1", IPAddr: other}, "pi1 names no broker"},
	} {
		if b, err := c.e.usable(); len(b) > 0 || err == nil || err.Error() != c.want {
			t.Errorf("usable = %v, %v, want %q", b, err, c.want)
		}
	}
	if b, err := (entry{IPAddr: other, Brokers: []string{"tcp://hub", "tcp://" + other}}).usable(); len(b) != 1 || err != nil {
		t.Errorf("usable = %v, %v, want the host's own broker", b, err)
	}
}

func TestTargetWords(t *testing.T) {
	t.Parallel()
	hosts := []entry{
		{Hostname: "pi1", Services: []cachedService{{Name: "gpio", Points: []cachedPoint{{Path: "input/door"}, {Path: "output/pump", Set: true}, {Path: "output/fan", Set: true}}}, {Name: "host"}}},
		{Hostname: "pi2"}, {Hostname: "pj", Services: []cachedService{{Name: "x"}}},
	}
	all := func(cachedPoint) bool { return true }
	set := func(p cachedPoint) bool { return p.Set }
	for _, c := range []struct {
		typed  string
		points func(cachedPoint) bool
		want   string
	}{
		{"", all, "pi1/ pj/"}, {"pi", all, "pi1/"}, {"pi1/", all, "pi1/gpio pi1/gpio/ pi1/host"}, {"pi1/g", nil, "pi1/gpio"},
		{"pi1/gpio/", all, "pi1/gpio/input/ pi1/gpio/output/"}, {"pi1/gpio/", set, "pi1/gpio/output/"},
		{"pi1/gpio/output/", set, "pi1/gpio/output/fan pi1/gpio/output/pump"}, {"x", all, ""},
	} {
		if got := strings.Join(targetWords(hosts, c.typed, c.points), " "); got != c.want {
			t.Errorf("targetWords(%q) = %q, want %q", c.typed, got, c.want)
		}
	}
}
