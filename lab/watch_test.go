package lab

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/reports"
)

// watcher is a `udpsrv sweep --watch --json` on host 1.
type watcher struct {
	t    *testing.T
	p    *Process
	read int // lines of it
}

// event is what it prints for one change, with the services as "name status".
func (w *watcher) event() string {
	w.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(3 * patience); time.Now().Before(deadline); <-again.C {
		lines := w.p.Lines()
		if w.read == len(lines) {
			continue
		}
		line := lines[w.read]
		if line == "" || strings.HasPrefix(line, "{") && !strings.HasSuffix(line, "}") {
			continue // the rest is to come
		}
		w.read++
		var e struct {
			Event string        `json:"event"`
			Host  reports.Found `json:"host"`
		}
		if json.Unmarshal([]byte(line), &e) != nil {
			continue // it is a warning
		}
		if !strings.HasPrefix(e.Host.IPAddr, "10.77.") {
			w.t.Errorf("%s %s has the address %s, want that of IPv4", e.Event, e.Host.Hostname, e.Host.IPAddr)
		}
		var services []string
		for _, s := range e.Host.Services {
			services = append(services, s.Name+" "+string(s.Status))
		}
		return fmt.Sprintf("%s %s: %s", e.Event, e.Host.Hostname, strings.Join(services, ", "))
	}
	w.t.Fatalf("no event within %s; it wrote:\n%s", 3*patience, strings.Join(w.p.Lines(), "\n"))
	return ""
}

// until waits for an event that begins so, and says how long it took. Other changes of the same host are passed over: services
// come one after the other.
func (w *watcher) until(what, host string) {
	w.t.Helper()
	start := time.Now()
	for {
		got := w.event()
		if strings.HasPrefix(got, what+" "+host+":") {
			w.t.Logf("%s after %v", got, time.Since(start).Round(10*time.Millisecond))
			return
		}
		if !strings.HasPrefix(got, "change "+host+":") {
			w.t.Fatalf("%s, want %s %s", got, what, host)
		}
	}
}

// datagrams returns how many UDP datagrams have left host i, by IPv4 and IPv6 (proc_net(5)).
func (l *LAN) datagrams(i int) (n int) {
	l.t.Helper()
	out, _, _ := l.Run(i, "cat", "/proc/net/snmp", "/proc/net/snmp6")
	var names []string
	add := func(s string) {
		v, err := strconv.Atoi(s)
		if err != nil {
			l.t.Fatal(err)
		}
		n += v
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "Udp6OutDatagrams":
			add(f[1])
		case len(f) == 0 || f[0] != "Udp:":
		case names == nil:
			names = f
		default:
			add(f[slices.Index(names, "OutDatagrams")])
		}
	}
	return n
}

// TestWatchRealHosts watches hosts that run the real programs: they join, change, restart, stop, are killed and are held up.
func TestWatchRealHosts(t *testing.T) {
	Need(t)
	l := NewLAN(t, 4)
	var hosts []*Host
	for i := 2; i <= 3; i++ {
		hosts = append(hosts, l.Boot(i, HostConfig{}))
	}
	eventually(t, []string{"pi2 10.77.0.2: gpio online, hostsensor online", "pi3 10.77.0.3: gpio online, hostsensor online"},
		func() []string { return sweep(t, l, 1, 0).names() })
	w := &watcher{t: t, p: l.Start(1, false, "udpsrv", "--cache", filepath.Join(l.dir, "watch.json"), "--keys", filepath.Join(l.dir, "watch-keys"),
		"sweep", "--watch", "--json", "--every", "6s")}
	for range hosts {
		if got := w.event(); !strings.HasPrefix(got, "join pi") {
			t.Fatalf("first events: %s", got)
		}
	}
	before, start := l.datagrams(1), time.Now()

	hosts = append(hosts, l.Boot(4, HostConfig{}))
	w.until("join", "pi4")
	eventually(t, []string{"pi4 10.77.0.4: gpio online, hostsensor online"}, func() []string { // else its services come later
		return sweep(t, l, 2, 0, "--to", l.Addr(4)).names()
	})
	hosts[0].Agentd.Stop()
	w.until("change", "pi2")
	hosts[1].Udpmon.Stop() // it says BYE
	w.until("loss", "pi3")
	hosts[1].Udpmon = l.Start(3, true, "udpmon", "--config", hosts[1].File)
	w.until("join", "pi3")
	hosts[2].Udpmon.Kill()
	w.until("loss", "pi4")
	hosts[1].Udpmon.signal(syscall.SIGSTOP)
	w.until("loss", "pi3")
	hosts[1].Udpmon.signal(syscall.SIGCONT)
	w.until("join", "pi3")
	hosts[0].Udpmon.Kill() // and is started again before it is missed
	hosts[0].Udpmon = l.Start(2, true, "udpmon", "--config", hosts[0].File)
	w.until("restart", "pi2")

	sent, took := l.datagrams(1)-before, time.Since(start)
	t.Logf("%d requests in %v", sent, took.Round(time.Second))
	if most := int(took/time.Second) + 2; sent > most {
		t.Errorf("%d datagrams in %v, want %d at most", sent, took, most)
	}
	w.p.Stop()
}
