package lab

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
)

func TestMain(m *testing.M) {
	code := m.Run()
	RemoveBinaries()
	os.Exit(code)
}

// swept is the object that `udpsrv sweep --json` prints.
type swept struct {
	ID      json.RawMessage `json:"id"`
	Elapsed float64         `json:"elapsed_ms"`
	Hosts   []reports.Found `json:"hosts"`
}

// sweep sweeps from host i and returns what was found; want is the exit status.
func sweep(t *testing.T, l *LAN, i, want int, args ...string) swept {
	t.Helper()
	out, errs, status := l.Run(i, "udpsrv", append([]string{"sweep", "--json"}, args...)...)
	if status != want {
		t.Fatalf("sweep %v: exit status %d, want %d\n%s%s", args, status, want, out, errs)
	}
	var s swept
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("sweep %v printed %q: %v", args, out, err)
	}
	return s
}

// names returns "host addr: service status, …" for each host found, sorted.
func (s swept) names() []string {
	var out []string
	for _, h := range s.Hosts {
		var services []string
		for _, sv := range h.Services {
			services = append(services, strings.TrimSpace(sv.Name+" "+string(sv.Status)))
		}
		out = append(out, fmt.Sprintf("%s %s: %s", h.Hostname, h.IPAddr, strings.Join(services, ", ")))
	}
	slices.Sort(out)
	return out
}

// eventually asks again until got returns what is wanted, and fails with the difference.
func eventually(t *testing.T, want []string, got func() []string) {
	t.Helper()
	slices.Sort(want)
	var last []string
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-again.C {
		if last = got(); slices.Equal(last, want) {
			return
		}
	}
	t.Fatalf("got\n  %s\nwant\n  %s", strings.Join(last, "\n  "), strings.Join(want, "\n  "))
}

// Twelve hosts, each with its own broker, swept from a thirteenth: the issue asks for ten.
func TestManyHosts(t *testing.T) {
	Need(t, "mosquitto", "mosquitto_sub")
	const n = 12
	l := NewLAN(t, n+1)
	hosts := make([]*Host, n+1)
	var want []string
	for i := 1; i <= n; i++ {
		c := HostConfig{Mosquitto: i%3 == 0}
		services := "gpio online, hostsensor online"
		switch i {
		case 2: // two hosts with one name
			c.Name = "pi1"
		case 4: // only some services
			c.Agents, services = "  hostsensor: {}\n", "hostsensor online"
		case 5:
			c.Agents, services = "  door: {agent: gpio, chip: sim}\n", "door online"
		}
		hosts[i] = l.Boot(i, c)
		want = append(want, fmt.Sprintf("%s %s: %s", hosts[i].Name, l.Addr(i), services))
	}
	eventually(t, want, func() []string { return sweep(t, l, n+1, 0).names() })

	ids := map[string]bool{}
	for _, h := range sweep(t, l, n+1, 0).Hosts {
		ids[h.ID] = true
		if !slices.Equal(h.Via, []string{"udp"}) {
			t.Errorf("%s came via %v, want udp", h.Hostname, h.Via)
		}
		for _, s := range h.Services {
			if want := (reports.Topics{Host: h.Hostname, Service: s.Name}); s.Outputs != want.Base() || s.Inputs != want.To("set") || s.Control != want.To("control") {
				t.Errorf("%s/%s has topics %q %q %q", h.Hostname, s.Name, s.Inputs, s.Outputs, s.Control)
			}
			if s.Name == "hostsensor" && s.Points < 8 {
				t.Errorf("%s: hostsensor has %d points", h.Hostname, s.Points)
			}
		}
	}
	if len(ids) != n {
		t.Errorf("%d different ids among %d hosts", len(ids), n)
	}

	t.Run("killed host is gone, its services offline by last will", func(t *testing.T) {
		dead := hosts[6] // on mosquitto, which goes on
		dead.Kill()
		alive := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.HasPrefix(s, dead.Name+" ") })
		eventually(t, alive, func() []string { return sweep(t, l, n+1, 0).names() })
		for _, topic := range []string{"/pi6/status", "/pi6/gpio/status", "/pi6/hostsensor/status"} {
			eventually(t, []string{"offline"}, func() []string {
				out, _, _ := l.Run(6, "mosquitto_sub", "-t", topic, "-C", "1", "-W", "5")
				return []string{strings.TrimSpace(out)}
			})
		}
		dead.Udpmon = l.Start(6, true, "udpmon", "--config", dead.File)
		dead.Agentd = l.Start(6, true, "agentd", "--config", dead.File)
		eventually(t, want, func() []string { return sweep(t, l, n+1, 0).names() })
	})

	t.Run("killed agentd leaves the host with its services offline", func(t *testing.T) {
		hosts[7].Agentd.Kill()
		changed := slices.Clone(want)
		for i, s := range changed {
			if strings.HasPrefix(s, "pi7 ") {
				changed[i] = strings.ReplaceAll(s, "online", "offline")
			}
		}
		eventually(t, changed, func() []string { return sweep(t, l, n+1, 0).names() })
		hosts[7].Agentd = l.Start(7, true, "agentd", "--config", hosts[7].File)
		eventually(t, want, func() []string { return sweep(t, l, n+1, 0).names() })
	})

	t.Run("power cut of a host with the embedded broker", func(t *testing.T) {
		hosts[8].Kill()
		hosts[8].Udpmon = l.Start(8, true, "udpmon", "--config", hosts[8].File) // agentd stays away: nothing may claim to be online
		changed := slices.Clone(want)
		for i, s := range changed {
			if strings.HasPrefix(s, "pi8 ") {
				changed[i] = strings.ReplaceAll(s, "online", "offline")
			}
		}
		eventually(t, changed, func() []string { return sweep(t, l, n+1, 0).names() })
		hosts[8].Agentd = l.Start(8, true, "agentd", "--config", hosts[8].File)
		eventually(t, want, func() []string { return sweep(t, l, n+1, 0).names() })
	})

	t.Run("nothing answers on an empty address", func(t *testing.T) {
		if s := sweep(t, l, n+1, 1, "--to", "10.77.0.200", "--wait", "300ms"); len(s.Hosts) != 0 {
			t.Errorf("found %v", s.names())
		}
	})

	t.Run("one host by unicast", func(t *testing.T) {
		if got := sweep(t, l, n+1, 0, "--to", l.Addr(3)).names(); len(got) != 1 || !strings.HasPrefix(got[0], "pi3 ") {
			t.Errorf("found %v, want pi3", got)
		}
	})

	t.Run("the map of hosts on the asking host's broker", func(t *testing.T) {
		// Host 3 has mosquitto and a monitor: after its own sweep its broker holds /<hostname> = ipaddr.
		sweep(t, l, 3, 0)
		for _, i := range []int{4, 9, 12} {
			out, _, _ := l.Run(3, "mosquitto_sub", "-t", "/"+hosts[i].Name, "-C", "1", "-W", "5")
			if got := strings.TrimSpace(out); got != l.Addr(i) {
				t.Errorf("/%s = %q, want %s", hosts[i].Name, got, l.Addr(i))
			}
		}
	})
}

// The tour of the README over a LAN: a broker that is open to it, set up and switched from another machine.
func TestSetUpAndSwitchOverTheLAN(t *testing.T) {
	Need(t)
	l := NewLAN(t, 3)
	h := l.Boot(1, HostConfig{Listen: "0.0.0.0:1883"})
	l.Boot(2, HostConfig{})
	run := func(want int, args ...string) string {
		t.Helper()
		out, errs, status := l.Run(3, "udpsrv", args...)
		if status != want {
			t.Fatalf("udpsrv %v: exit status %d, want %d\n%s%s", args, status, want, out, errs)
		}
		return out + errs
	}
	setup := l.dir + "/pins.yaml"
	doc := "outputs:\n  pump: {pin: 25, initial: off}\ninputs:\n  door: {pin: pin15, pull: up, on_change: true}\n"
	if err := os.WriteFile(setup, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	run(0, "setup", "pi1/gpio", "-f", setup)
	if got := strings.TrimSpace(run(0, "get", "pi1/gpio/input/door")); got != "ON" {
		t.Errorf("door = %q, want ON: it is pulled up", got)
	}
	run(0, "set", "pi1/gpio/output/pump", "ON")
	if got := strings.TrimSpace(run(0, "get", "pi1/gpio/output/pump")); got != "ON" {
		t.Errorf("pump = %q after set ON", got)
	}
	for _, bad := range []struct{ args, want string }{
		{"set pi1/gpio/output/pump MAYBE", "MAYBE"},
		{"set pi1/gpio/output/pmup ON", "pmup"},
		{"set pi1/gpio/input/door ON", "door"},
		{"get pi1/nothere/x", "nothere"},
		{"get pi2/hostsensor/uptime", "loopback"},
		{"get nobody/hostsensor", "nobody"},
	} {
		if got := run(1, strings.Fields(bad.args)...); !strings.Contains(got, bad.want) || strings.Count(strings.TrimSpace(got), "\n") > 1 {
			t.Errorf("udpsrv %s said %q, want a line about %q", bad.args, got, bad.want)
		}
	}
	before := run(0, "setup", "pi1/gpio")
	if err := os.WriteFile(setup, []byte("outputs:\n  pump: {pin: 25}\n  fan: {pin: GPIO25}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run(1, "setup", "pi1/gpio", "-f", setup); !strings.Contains(got, "setup:") || !strings.Contains(got, "25") {
		t.Errorf("a pin used twice was refused with %q", got)
	}
	if after := run(0, "setup", "pi1/gpio"); after != before {
		t.Errorf("a refused set-up changed\n%sinto\n%s", before, after)
	}
	h.Agentd.Kill()
	h.Agentd = l.Start(1, true, "agentd", "--config", h.File)
	eventually(t, []string{before}, func() []string { return []string{run(0, "setup", "pi1/gpio")} })
	// The network may command; it may not pretend to be the host.
	for _, topic := range []string{"/pi1/gpio/output/pump", "/pi1/status", "/pi1/gpio/description", reports.ReportTopic, "/pi9"} {
		if got := publishFrom(t, l, 3, l.Addr(1), topic); got {
			t.Errorf("a stranger's publish to %s was let through", topic)
		}
	}
}

// publishFrom publishes to the broker at addr from host i with mosquitto_pub and reports whether the broker took it.
func publishFrom(t *testing.T, l *LAN, i int, addr, topic string) bool {
	t.Helper()
	_, errs, status := l.Run(i, "mosquitto_pub", "-h", addr, "-t", topic, "-m", "forged", "-q", "1")
	return status == 0 && !strings.Contains(errs, "lost")
}

// A host must answer a sweep while a neighbour floods it with 50,000 datagrams of garbage a second.
func TestSweepDuringFlood(t *testing.T) {
	Need(t)
	l := NewLAN(t, 3)
	l.Boot(1, HostConfig{})
	eventually(t, []string{"pi1 10.77.0.1: gpio online, hostsensor online"}, func() []string { return sweep(t, l, 2, 0).names() })
	flood := l.Start(3, false, os.Args[0], "-test.run", "^TestFloodHelper$", "-flood", net.JoinHostPort(l.Addr(1), "37030"))
	flood.WaitLine("flooding", patience)
	for range 5 {
		if got := sweep(t, l, 2, 0).names(); len(got) != 1 {
			t.Fatalf("found %v during the flood", got)
		}
	}
	flood.Kill()
	t.Log(flood.Lines()[len(flood.Lines())-1])
}
