package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// diagnosis is what udpsrv doctor --json prints.
type diagnosis struct {
	OK       bool `json:"ok"`
	Findings []struct{ State, Kind, About, Text, Fix string }
}

// doctor runs udpsrv doctor on host i and returns what it found, and its exit status.
func (l *LAN) doctor(i int, args ...string) (d diagnosis, status int) {
	l.t.Helper()
	out, stderr, status := l.Run(i, "udpsrv", append([]string{"doctor", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		l.t.Fatalf("%v\n%s%s", err, out, stderr)
	}
	if d.OK != (status == 0) {
		l.t.Errorf("ok is %v with status %d", d.OK, status)
	}
	return d, status
}

// found reports whether there is a finding of the state and kind with the words in its text, and the fix in its fix.
func (d diagnosis) found(state, kind, text, fix string) bool {
	for _, f := range d.Findings {
		if f.State == state && f.Kind == kind && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix) {
			return true
		}
	}
	return false
}

// has fails unless there is such a finding.
func (d diagnosis) has(t *testing.T, state, kind, text, fix string) {
	t.Helper()
	if !d.found(state, kind, text, fix) {
		t.Errorf("no finding %s %s %q with %q; there are:\n%s", state, kind, text, fix, d)
	}
}

func (d diagnosis) String() string {
	var b strings.Builder
	for _, f := range d.Findings {
		b.WriteString(strings.Join([]string{f.State, f.Kind, f.About, f.Text, "→ " + f.Fix}, " | ") + "\n")
	}
	return b.String()
}

// shows runs doctor on host i until there is such a finding, for as long as a loaded machine may take to answer in time, and returns all.
func (l *LAN) shows(i int, args []string, state, kind, text, fix string) (d diagnosis) {
	l.t.Helper()
	for deadline := time.Now().Add(3 * patience); ; {
		d, _ = l.doctor(i, args...)
		if d.found(state, kind, text, fix) {
			return d
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("no finding %s %s %q with %q; there are:\n%s", state, kind, text, fix, d)
		}
	}
}

// well runs doctor on host i until nothing is wrong.
func (l *LAN) well(i int, args ...string) (d diagnosis) {
	l.t.Helper()
	for deadline := time.Now().Add(3 * patience); ; {
		d, status := l.doctor(i, args...)
		if status == 0 {
			return d
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("status %d although all is well:\n%s", status, d)
		}
	}
}

// sh runs a line of shell on host i, and fails if it does.
func (l *LAN) sh(i int, line string) {
	l.t.Helper()
	if out, err := exec.Command("ip", "netns", "exec", l.NS(i), "sh", "-c", line).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// mend runs the fix of a finding, as its reader would who has no sudo to type.
func (l *LAN) mend(i int, d diagnosis, kind, begin string) {
	l.t.Helper()
	for _, f := range d.Findings {
		if f.State == "wrong" && f.Kind == kind && strings.HasPrefix(f.Fix, begin) {
			l.sh(i, strings.ReplaceAll(f.Fix, "sudo ", ""))
			return
		}
	}
	l.t.Errorf("no fix of %s that begins with %q:\n%s", kind, begin, d)
}

// TestDoctorLaptop breaks the laptop: its packet filter in three ways, and its interface. The lines that doctor prints mend it.
func TestDoctorLaptop(t *testing.T) {
	Need(t, "nft")
	l := NewLAN(t, 2)
	l.Boot(1, HostConfig{Listen: "0.0.0.0:1883"})
	d := l.well(2, "pi1")
	d.has(t, "ok", "firewall", "answers from port 37030 come in", "")
	d.has(t, "ok", "host", "answers from 10.77.0.1", "")
	d.has(t, "ok", "broker", "10.77.0.1:1883", "")
	d.has(t, "ok", "service", "online", "")
	d.has(t, "note", "host", "is no host", "")

	const tables = "table inet filter {\n chain input {\n type filter hook input priority 0; policy %POLICY%;\n %IN%\n }\n chain output {\n type filter hook output priority 0;\n %OUT%\n }\n}\n"
	filter := func(policy, in, out string) {
		text := strings.NewReplacer("%POLICY%", policy, "%IN%", in, "%OUT%", out).Replace(tables)
		l.sh(2, "nft flush ruleset && printf '%s' '"+text+"' | nft -f -")
	}
	for _, tt := range []struct{ name, policy, in, out, text, fix string }{
		{"answers are dropped by a rule", "accept", "udp sport 37030 drop", "", "answers of hosts", "sudo nft insert rule inet filter input udp sport 37030 accept"},
		{"a laptop's usual rules drop answers to a broadcast", "drop", "ct state established,related accept\n iifname lo accept", "", "policy drop of inet filter input", "sudo nft insert rule inet filter input udp sport 37030 accept"},
		{"requests are dropped", "accept", "", "udp dport 37030 drop", "requests to hosts are dropped", "sudo nft insert rule inet filter output udp dport 37030 accept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter(tt.policy, tt.in, tt.out)
			d := l.shows(2, []string{"pi1"}, "wrong", "firewall", tt.text, tt.fix)
			if tt.out != "" {
				d.has(t, "wrong", "send", "operation not permitted", "sudo nft list ruleset")
			}
			l.mend(2, d, "firewall", "sudo nft insert")
			l.well(2, "pi1")
		})
	}
	l.sh(2, "nft flush ruleset")

	l.sh(2, "ip link set eth0 down")
	d = l.shows(2, []string{"pi1"}, "wrong", "interface", "it is down, and no other interface can be used", "sudo ip link set eth0 up")
	l.mend(2, d, "interface", "sudo ip link")
	l.awaitLinks()
	l.well(2, "pi1")
}

// TestDoctorHost breaks a host: its broker, its monitor, its packet filter, its place, and at last its power.
func TestDoctorHost(t *testing.T) {
	Need(t, "nft", "mosquitto")
	l := NewLAN(t, 2)
	h := l.Boot(1, HostConfig{Mosquitto: true, Extra: "", Listen: ""})
	// mosquitto is open to the LAN; the host names it by loopback, which says that nobody else reaches it.
	l.shows(2, []string{"pi1"}, "wrong", "broker", "loopback only", "udpsrv enroll pi1")
	h.Kill()

	l.rewrite(h, "broker: {url: tcp://127.0.0.1:1883}", "broker: {url: tcp://"+l.Addr(1)+":1883}")
	h.Udpmon, h.Agentd = l.Start(1, true, "udpmon", "--config", h.File), l.Start(1, true, "agentd", "--config", h.File)
	until(t, "services are there", func() bool {
		d, status := l.doctor(2, "pi1")
		return status == 0 && strings.Contains(d.String(), "pi1/gpio")
	})

	h.Broker.Stop()
	l.shows(2, []string{"pi1"}, "wrong", "broker", "nobody listens at its broker's address 10.77.0.1:1883", "ssh pi1 sudo systemctl restart mosquitto udpmon")
	h.Broker = l.Mosquitto(1)

	// On the host itself.
	d := l.shows(1, []string{"--config", h.File}, "ok", "port", "UDP port 37030: udpmon (pid", "")
	d.has(t, "ok", "unit", "is good", "")
	l.sh(1, "nft 'add table inet filter; add chain inet filter input { type filter hook input priority 0; }; add rule inet filter input udp dport 37030 drop'")
	l.shows(1, []string{"--config", h.File}, "wrong", "firewall", "requests of laptops to this host are dropped", "sudo nft insert rule inet filter input udp dport 37030 accept")
	d = l.shows(2, []string{"pi1"}, "wrong", "host", "a machine is at 10.77.0.1 and does not answer", "udpsrv enroll pi1")
	d.has(t, "note", "host", "last heard", "")
	l.sh(1, "nft flush ruleset")

	h.Udpmon.Stop()
	l.shows(2, []string{"pi1"}, "wrong", "host", "port 37030 is closed: udpmon does not run there", "ssh pi1 sudo systemctl restart udpmon")
	d = l.shows(1, []string{"--config", h.File}, "wrong", "port", "nobody has UDP port 37030", "sudo systemctl enable --now udpmon")
	taker := l.Start(1, false, "nc", "-u", "-l", "37030")
	until(t, "port is taken", func() bool { d, _ = l.doctor(1, "--config", h.File); return strings.Contains(d.String(), "taken by") })
	d.has(t, "wrong", "port", "UDP port 37030 is taken by nc (pid", "sudo kill ")
	taker.Stop()

	l.sh(1, "ip link set eth0 down")
	l.sh(2, "ip neigh flush dev eth0")
	l.shows(2, []string{"pi1"}, "wrong", "host", "host is off, unplugged, or has another address", "ping -c 3 10.77.0.1")
	l.shows(2, []string{"nobody"}, "wrong", "host", "nobody of this name answered", "udpsrv sweep")
	l.sh(2, "ip route add 10.99.0.0/24 via 10.77.0.1")
	l.shows(2, []string{"10.99.0.7"}, "wrong", "host", "is in another network", "udpsrv sweep --subnet 10.99.0.0/24")
}

// rewrite changes the configuration of a host.
func (l *LAN) rewrite(h *Host, old, fresh string) {
	l.t.Helper()
	text, err := os.ReadFile(h.File)
	if err == nil && !strings.Contains(string(text), old) {
		l.t.Fatalf("no %q in %s", old, text)
	}
	if err == nil {
		err = os.WriteFile(h.File, []byte(strings.Replace(string(text), old, fresh, 1)), 0o644)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// until waits for a condition, for as long as a loaded machine may take.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(3 * patience); !is(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, 3*patience)
		}
	}
}

// TestDoctorKeys has a laptop whose key the host does not obey, a host whose key is not known, and one whose key has changed.
func TestDoctorKeys(t *testing.T) {
	Need(t)
	l := NewLAN(t, 3)
	key := func(i int) string {
		out, _, _ := l.Run(i, "udpsrv", "key", "show")
		return strings.TrimSpace(out)
	}
	file := filepath.Join(l.dir, "operators")
	if err := os.WriteFile(file, []byte(key(2)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := l.Boot(1, HostConfig{Extra: "discovery: {authorized_operators: " + file + "}\n"})
	l.shows(2, []string{"pi1"}, "wrong", "key", "its key is not known here", "udpsrv trust pi1")
	l.Run(2, "udpsrv", "trust", "--yes", "pi1")
	d := l.well(2, "pi1")
	d.has(t, "ok", "broker", "ssl://10.77.0.1:8883", "")

	// A laptop that the host does not know.
	l.shows(3, []string{l.Addr(1)}, "wrong", "key", "does not obey this laptop's key (SHA256:", "udpsrv enroll 10.77.0.1")

	h.Kill()
	for _, name := range []string{"host_key", "host_key.pub"} {
		if err := os.Remove(filepath.Join(h.State, name)); err != nil {
			t.Fatal(err)
		}
	}
	h.Udpmon = l.Start(1, true, "udpmon", "--config", h.File)
	l.shows(2, []string{"pi1"}, "wrong", "key", "HAS CHANGED", "udpsrv trust --forget pi1 && udpsrv trust pi1")
}

// TestDoctorClock has a host whose clock is an hour behind.
func TestDoctorClock(t *testing.T) {
	Need(t)
	l := NewLAN(t, 2)
	out, _, _ := l.Run(2, "udpsrv", "key", "show")
	operator, err := trust.ParsePublicKey(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends with the test, which waits for it
		var err error
		inside := Inside(l.NS(1), func() {
			var r *discover.Responder
			r, err = light(1, operator.Key, func(c *discover.ResponderConfig) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } })
			close(ready)
			if err == nil {
				err = r.Run(ctx)
			}
		})
		ended <- errors.Join(err, inside)
	}()
	<-ready
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	l.shows(2, []string{"light1"}, "wrong", "clock", "differ by more than 30s", "ssh light1 sudo timedatectl set-ntp true")
}
