package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// TestFirewall judges datagrams by rules as nft(8) and iptables-save(8) print them.
func TestFirewall(t *testing.T) {
	t.Parallel()
	nft := func(file string) *firewall {
		doc, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseNft(doc)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	rules := func(lines string) *firewall {
		return parseIptables("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n" + lines + "COMMIT\n")
	}
	many := nft("ruleset.json")
	home, far := netip.MustParsePrefix("192.168.1.7/24"), netip.MustParsePrefix("10.1.0.7/16")
	for _, tt := range []struct {
		name   string
		f      *firewall
		in     bool
		iface  string
		net    netip.Prefix
		to     int // port; the other one is that of discovery or no port of importance
		want   sureness
		by     string
		mender string
	}{
		{"output dropped by its port", many, false, "wlan0", home, 37030, no, "rule with handle 21", "sudo nft insert rule inet filter out udp dport 37030 accept"},
		{"output to another port", many, false, "wlan0", home, 37031, yes, "", ""},
		{"input rejected in a chain that is called", many, true, "wlan0", home, 45678, no, "rule with handle 5 in other", "sudo nft insert rule inet filter input udp sport 37030 accept"},
		{"input on an interface that is let in", many, true, "eth0", home, 45678, yes, "", ""},
		{"a set, and a policy", many, true, "wlan0", home, 2, no, "rule with handle 12", "sudo nft insert rule inet filter input udp sport 37030 accept"},
		{"iptables: port", rules("-A INPUT -p udp -m udp --sport 37030 -j DROP\n"), true, "eth0", home, 45678, no, "rule -A INPUT -p udp -m udp --sport 37030 -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: protocol of others", rules("-A INPUT -p tcp -j DROP\n-A INPUT -p udp --dport 1:1023 -j DROP\n"), true, "eth0", home, 45678, yes, "", ""},
		{"iptables: network", rules("-A INPUT -s 192.168.0.0/16 -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n"), true, "eth0", home, 45678, yes, "", ""},
		{"iptables: other network", rules("-A INPUT -s 192.168.0.0/16 -j ACCEPT\n-A INPUT -j REJECT\n"), true, "eth0", far, 45678, no, "rule -A INPUT -j REJECT", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: not this interface", rules("-A INPUT ! -i eth0 -j ACCEPT\n-A INPUT -j DROP\n"), true, "eth0", home, 45678, no, "rule -A INPUT -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: established only", rules("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -j DROP\n"), true, "eth0", home, 45678, no, "rule -A INPUT -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: what can't be judged", rules("-A INPUT -m recent --rcheck -j DROP\n"), true, "eth0", home, 45678, unsure, "rule -A INPUT -m recent --rcheck -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: what can't be judged lets in", rules("-A INPUT -m recent --rcheck -j ACCEPT\n-A INPUT -j DROP\n"), true, "eth0", home, 45678, unsure, "rule -A INPUT -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: back from a chain", rules(":mine - [0:0]\n-A INPUT -j mine\n-A INPUT -j DROP\n-A mine -p udp -j RETURN\n-A mine -j ACCEPT\n"), true, "eth0", home, 45678, no, "rule -A INPUT -j DROP", "sudo iptables-legacy -I INPUT -p udp --sport 37030 -j ACCEPT"},
		{"iptables: a ring of chains", rules(":a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n-A b -j a\n"), true, "eth0", home, 45678, yes, "", ""},
		{"ufw", rules(":ufw-reject - [0:0]\n-A INPUT -j ufw-reject\n-A ufw-reject -j REJECT\n"), true, "eth0", home, 45678, no, "rule -A ufw-reject -j REJECT", "sudo ufw allow in proto udp from any port 37030"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, hook := datagram(false, tt.iface, tt.net, ephemeral, tt.to), "output"
			if tt.in {
				p, hook = datagram(true, tt.iface, tt.net, discover.Port, tt.to), "input"
			}
			got, where, by := tt.f.judge(p, hook)
			if got != tt.want || by != tt.by {
				t.Errorf("judged %d by %q, want %d by %q", got, by, tt.want, tt.by)
			}
			if where == nil && tt.mender != "" || where != nil && tt.f.opening(where, discover.Port, tt.in) != tt.mender {
				t.Errorf("chain %+v, want one that is opened by %q", where, tt.mender)
			}
		})
	}
	if many.judgeAll(); many.chains == nil {
		t.Error("no chains")
	}
}

// judgeAll asks for a verdict of each kind, as a fuzzed ruleset might have.
func (f *firewall) judgeAll() {
	for _, in := range []bool{true, false} {
		_, where, _ := f.judge(datagram(in, "eth0", netip.MustParsePrefix("10.0.0.1/8"), 1, 2), "input", "output", "prerouting", "postrouting")
		if where != nil {
			_ = f.opening(where, 1, in)
		}
	}
}

func FuzzNft(f *testing.F) {
	doc, err := os.ReadFile("testdata/ruleset.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"nftables":[{"chain":{"family":"ip","table":"t","name":"c","type":"filter","hook":"input","policy":"drop"}},{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"goto":{"target":"c"}}]}}]}`))
	f.Fuzz(func(_ *testing.T, doc []byte) {
		if fw, err := parseNft(doc); err == nil {
			fw.judgeAll()
		}
	})
}

func FuzzIptables(f *testing.F) {
	f.Add("*filter\n:INPUT DROP [0:0]\n:x - [0:0]\n-A INPUT ! -i eth+ -p udp -m multiport --dports 1,2:5 -m comment --comment \"a b\" -j x\n-A x -g INPUT\n")
	f.Fuzz(func(_ *testing.T, text string) { parseIptables(text).judgeAll() })
}

// doctor runs the command for a laptop in a system of files of its own, without programs, and returns what it found.
func (l *laptop) doctor(d *doctoring, names ...string) (found []finding, ok bool) {
	l.t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &output{w: &out}, err: &output{w: &errs}, cache: l.cache, keys: l.keys}
	if d.root == "" {
		d.root = l.t.TempDir()
	}
	if d.tool == nil {
		d.tool = func(_ context.Context, name string, _ ...string) ([]byte, error) {
			return nil, errors.New(name + " is not installed")
		}
	}
	d.json, d.via, d.config = true, viaUDP, "/etc/rollcall/rollcall.yaml"
	if d.port == 0 {
		d.port = discover.Port
	}
	if d.wait == 0 {
		d.wait = longestWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	defer cancel()
	err := d.run(ctx, a, names)
	var printed struct {
		OK       bool
		Findings []finding
	}
	if jerr := json.Unmarshal(out.Bytes(), &printed); jerr != nil || printed.OK != (err == nil) {
		l.t.Fatalf("%v; %v; %s%s", err, jerr, out.String(), errs.String())
	}
	return printed.Findings, printed.OK
}

// finds fails unless there is such a finding, with the words in its text and its fix.
func finds(t *testing.T, all []finding, state, kind, about, text, fix string) {
	t.Helper()
	if hasFinding(all, state, kind, about, text, fix) {
		return
	}
	t.Errorf("no finding %s %s %s %q with %q among %+v", state, kind, about, text, fix, all)
}

// hasFinding reports whether there is such a finding.
func hasFinding(all []finding, state, kind, about, text, fix string) bool {
	return slices.ContainsFunc(all, func(f finding) bool {
		return f.State == state && f.Kind == kind && f.About == about && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix)
	})
}

// shows runs the command until there is such a finding, for as long as a loaded machine may take to answer in time.
func (l *laptop) shows(d *doctoring, names []string, state, kind, about, text, fix string) {
	l.t.Helper()
	var all []finding
	for deadline := time.Now().Add(6 * patience); ; {
		again := *d
		all, _ = l.doctor(&again, names...)
		if hasFinding(all, state, kind, about, text, fix) || time.Now().After(deadline) {
			break
		}
	}
	finds(l.t.(*testing.T), all, state, kind, about, text, fix)
}

// TestDoctorHosts looks at hosts on loopback, each with something wrong.
func TestDoctorHosts(t *testing.T) {
	t.Parallel()
	port := func(addr string) int { return int(netip.MustParseAddrPort(addr).Port()) }
	to := func(addr string) *doctoring { return &doctoring{asking: asking{to: []string{addr}, port: port(addr)}} }
	t.Run("well", func(t *testing.T) {
		t.Parallel()
		l, broker := newLaptop(t), bustest.Start(t)
		s := serve(t, broker, nil)
		h := hostNamed("pizero2", 1, broker)
		h.Services = h.Services[:1]
		d, named := to(boot(t, h, nil).addr), []string{"pizero2"}
		l.shows(d, named, isFine, "service", "pizero2/gpio", "online", "")
		l.shows(d, named, isFine, "broker", "pizero2", "tcp://127.0.0.1", "")
		for deadline := time.Now().Add(6 * patience); ; {
			again := *d
			if all, ok := l.doctor(&again, named...); ok {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("something is wrong: %+v", all)
			}
		}
		s.retain(t, s.topics.To("error"), "pin 17 is taken\x1b[2J")
		l.shows(d, nil, isWrong, "service", "pizero2/gpio", "pin 17 is taken", "udpsrv logs pizero2/gpio")
		s.retain(t, s.topics.To("description"), "")
		s.retain(t, s.topics.To("error"), "")
		l.shows(d, nil, isWrong, "service", "pizero2/gpio", "no description", `udpsrv control pizero2/gpio '{"verb":"refresh"}'`)
		s.retain(t, s.topics.To("status"), "offline")
		l.shows(d, nil, isWrong, "service", "pizero2/gpio", "is offline", "ssh pizero2 sudo systemctl restart agent@gpio")
	})
	t.Run("broker is down", func(t *testing.T) {
		t.Parallel()
		l := newLaptop(t)
		l.shows(to(boot(t, hostNamed("pizero2", 1, "tcp://"+freePort(t)), nil).addr), []string{"pizero2"}, isWrong, "broker", "pizero2", "nobody listens at its broker's address", "ssh pizero2 sudo systemctl restart")
		l.shows(to(boot(t, hostNamed("pizero3", 2, "tcp://192.0.2.7:1883"), nil).addr), []string{"pizero3"}, isWrong, "broker", "pizero3", "is not on the host itself", "udpsrv --broker tcp://192.0.2.7:1883")
	})
	t.Run("keys", func(t *testing.T) {
		t.Parallel()
		l, named := newLaptop(t), []string{"pizero2"}
		h := bootClosed(t, hostNamed("pizero2", 1), newHostKey(t, "pizero2"), l.operator())
		l.shows(to(h.addr), named, isWrong, "key", "pizero2", "its key is not known here", "udpsrv trust pizero2")
		l.want(exitOK, "trust", "--yes", "--to", h.addr, "pizero2")
		changed := bootClosed(t, hostNamed("pizero2", 1), newHostKey(t, "evil"), l.operator())
		l.shows(to(changed.addr), named, isWrong, "key", "pizero2", "HAS CHANGED", "udpsrv trust --forget pizero2 && udpsrv trust pizero2")
		l.shows(to(boot(t, hostNamed("pizero2", 1), nil).addr), named, isWrong, "key", "pizero2", "ANSWERS WITHOUT ITS KEY", "udpsrv trust --forget pizero2")
	})
	t.Run("stranger, and nobody", func(t *testing.T) {
		t.Parallel()
		l, other := newLaptop(t), newLaptop(t)
		h := bootClosed(t, hostNamed("pizero2", 1), newHostKey(t, "pizero2"), other.operator())
		l.shows(to(h.addr), []string{"127.0.0.1"}, isWrong, "host", "127.0.0.1", "does not answer: its authorized_operators has no line of this key", "udpsrv enroll 127.0.0.1")
		nobody := to(freeUDP(t))
		l.shows(nobody, []string{"127.0.0.1"}, isWrong, "host", "127.0.0.1", "is closed: udpmon does not run there", "ssh 127.0.0.1 sudo systemctl restart udpmon")
		l.shows(nobody, []string{"pizero2"}, isWrong, "host", "pizero2", "nobody of this name answered", "udpsrv sweep")
	})
	t.Run("clock", func(t *testing.T) {
		t.Parallel()
		l := newLaptop(t)
		h := bootClosedAt(t, hostNamed("pizero2", 1), newHostKey(t, "pizero2"), func() time.Time { return time.Now().Add(-time.Hour) }, l.operator())
		l.shows(to(h.addr), []string{"pizero2"}, isWrong, "clock", "pizero2", "differ by more than 30s", "ssh pizero2 sudo timedatectl set-ntp true")
	})
}

// retain publishes a retained message and waits until the broker has it.
func (s *fakeService) retain(t *testing.T, topic, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Publish(ctx, bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
}

// freeUDP returns an address of loopback where nobody listens.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// TestDoctorHere looks at a machine made of files: who has the port, and what systemd and udpmon say.
func TestDoctorHere(t *testing.T) {
	t.Parallel()
	const socket = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
		" 1250: 00000000:90A6 00000000:0000 07 00000000:00000000 00:00000000 00000000   998        0 4711 2 0000000000000000 0\n" +
		" 1251: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0\n"
	machine := func(t *testing.T, files map[string]string, owner, program string) string {
		root := t.TempDir()
		files["/proc/sys/kernel/ostype"] = "Linux\n"
		if owner != "" {
			files["/proc/"+owner+"/comm"] = program + "\n"
			files["/proc/"+owner+"/fd/x"] = ""
		}
		for path, text := range files {
			if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(root+path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if owner != "" {
			if err := os.Symlink("socket:[4711]", root+"/proc/"+owner+"/fd/7"); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	nobody := &doctoring{asking: asking{to: []string{freeUDP(t)}}}
	tools := func(unit, check, nft string) func(context.Context, string, ...string) ([]byte, error) {
		return func(_ context.Context, name string, _ ...string) ([]byte, error) {
			switch {
			case name == "systemctl":
				return []byte(unit), nil
			case name == "nft" && nft != "":
				return nil, errors.New(nft)
			case name == "udpmon" && check != "":
				return nil, errors.New(check)
			}
			return []byte("{}"), nil
		}
	}
	for _, tt := range []struct {
		name              string
		files             map[string]string
		pid, program      string
		unit, check, nft  string
		state, kind, text string
		about, fix        string
	}{
		{"taken", map[string]string{"/proc/net/udp": socket}, "77", "nc", "", "", "", isWrong, "port", "UDP port 37030 is taken by nc (pid 77)", "this machine", "sudo kill 77 && sudo systemctl restart udpmon"},
		{"taken by somebody", map[string]string{"/proc/net/udp": socket}, "", "", "", "", "", unseen, "port", "taken by a program of user 998", "this machine", "sudo udpsrv doctor --keys"},
		{"not running", map[string]string{"/proc/net/udp": "", "/etc/rollcall/rollcall.yaml": ""}, "", "", "", "", "", isWrong, "port", "nobody has UDP port 37030", "this machine", "sudo systemctl enable --now udpmon"},
		{"no host", map[string]string{"/proc/net/udp": ""}, "", "", "", "", "", isNote, "host", "is no host", "this machine", ""},
		{"not to be seen", map[string]string{}, "", "", "", "", "", unseen, "port", "can't be seen", "this machine", ""},
		{"failed", map[string]string{"/proc/net/udp": "", "/run/systemd/system/x": ""}, "", "", "LoadState=loaded\nActiveState=failed\nResult=exit-code\nNRestarts=3\n", "", "", isWrong, "unit", "has failed (exit-code, 3 restarts)", "udpmon", "sudo journalctl -u udpmon"},
		{"bad configuration", map[string]string{"/proc/net/udp": "", "/etc/rollcall/rollcall.yaml": "x"}, "", "", "", "udpmon: rollcall.yaml:1: x", "", isWrong, "unit", "rollcall.yaml:1: x", "udpmon", "sudoedit /etc/rollcall/rollcall.yaml"},
		{"no rights", map[string]string{"/proc/net/udp": ""}, "", "", "", "", "nft: Operation not permitted", unseen, "firewall", "its rules can't be read: nft: Operation not permitted", "this machine", "sudo udpsrv doctor --keys"},
		{"small table", map[string]string{"/proc/net/udp": "", "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024"}, "", "", "", "", "", isNote, "send", "nobody answered", "this machine", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := *nobody
			d.root, d.tool, d.wait = machine(t, tt.files, tt.pid, tt.program), tools(tt.unit, tt.check, tt.nft), 300*time.Millisecond
			all, _ := newLaptop(t).doctor(&d)
			finds(t, all, tt.state, tt.kind, tt.about, tt.text, tt.fix)
		})
	}
}

// TestDoctorRoom has more hosts than the kernel's table of neighbours has room for.
func TestDoctorRoom(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := root + "/proc/sys/net/ipv4/neigh/default/gc_thresh3"
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("1024\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	x := &exam{doctoring: &doctoring{root: root}, a: &app{out: &output{w: io.Discard}}}
	x.neighbours(800)
	if len(x.found) > 0 {
		t.Errorf("800 hosts: %+v", x.found)
	}
	x.neighbours(1000)
	finds(t, x.found, isWrong, "buffer", "this machine", "room for 1024", "gc_thresh3=4000 net.ipv4.neigh.default.gc_thresh2=2000")
}

// TestDoctorCleans prints what a host says so that it does nothing to a terminal.
func TestDoctorCleans(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	x := &exam{doctoring: &doctoring{}, a: &app{out: &output{w: &out}}}
	x.service(&host{Found: reports.Found{Hostname: "pi"}}, reports.HostService{Service: reports.Service{Name: "gpio"}, Status: reports.Online, Error: "\x1b[2J\nok"}, true)
	if got := out.String(); strings.ContainsRune(got, 0x1b) || strings.Count(got, "\n") != 2 || !strings.Contains(got, `\x1b[2J\nok`) {
		t.Errorf("printed %q", got)
	}
}
