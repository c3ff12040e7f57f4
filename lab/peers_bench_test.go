package lab

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	peerHosts = flag.Int("peer-hosts", 50, "hosts of BenchmarkPeers")
	peerDocs  = flag.String("peer-docs", "", "folder to write peers.md and peers.svg to; none: they are not written")
)

// peerBed is hosts of which each runs one thing at a time: Rollcall, or what others find services with.
type peerBed struct {
	*LAN
	t   testing.TB
	n   int    // hosts; the laptop is the one after them
	bin string // the program of lab/peers
}

// peer is one way to find services.
type peer struct {
	name  string
	start func() (stop func())      // on all hosts, and what else it needs
	ask   func() (string, []string) // the question, a command for the laptop
	runs  int
}

// peerRow is what a peer came to at one loss.
type peerRow struct {
	name           string
	lost           float64
	recall, whole  float64
	last, returned float64
}

// BenchmarkPeers measures Rollcall, hashicorp/mdns, avahi-browse, serf and NATS one after the other on the same hosts: how many of them
// each finds, when the last of those, and when the call comes back.
func BenchmarkPeers(b *testing.B) {
	Need(b, "nft", "avahi-daemon", "avahi-browse", "dbus-daemon", "serf", "nats-server")
	n := *peerHosts
	bed := &peerBed{LAN: NewLAN(b, n+1), t: b, n: n, bin: filepath.Join(b.TempDir(), "peers")}
	bed.ManyNeighbours(4 * n * n) // the table is one for all namespaces, and all hosts of serf and avahi know each other
	cmd := exec.Command("go", "build", "-o", bed.bin, ".")
	cmd.Dir, cmd.Env = filepath.Join(top(b), "lab/peers"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("peers can't be built: %v\n%s", err, out)
	}
	for i := 1; i <= n+1; i++ {
		run(b, bed.LAN, i, "ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
	}
	for range b.N {
		rows := bed.rollcall()
		for _, p := range bed.peers() {
			rows = append(rows, bed.measure(p)...)
		}
		fmt.Printf("%d hosts\n%s", n, peerTable(rows)) // the log of a benchmark is cut off after ten lines
		if *peerDocs != "" {
			writePeers(b, *peerDocs, n, rows)
		}
		b.ReportMetric(0, "ns/op")
	}
}

var peerLosses = []float64{0, 0.1}

// rollcall measures signed sweeps of sealed hosts: of hosts that nobody knows, and of those of the sweep before.
func (p *peerBed) rollcall() (rows []peerRow) {
	key, file := newOperator(p.t, p.LAN)
	known := newLaptop(p.t, p.LAN, p.n+1, p.n, key)
	var hosts []*Host
	for i := 1; i <= p.n; i++ {
		hosts = append(hosts, p.Boot(i, HostConfig{Extra: obeying(file), Agents: "  hostsensor: {}\n"}))
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if s, err := known.sweep(true); err == nil && s.services == p.n {
			break
		} else if time.Now().After(deadline) {
			p.t.Fatalf("found %d services of %d hosts, %v", s.services, p.n, err)
		}
	}
	stranger := newLaptop(p.t, p.LAN, p.n+1, p.n, key)
	for _, who := range []struct {
		name string
		*laptop
	}{{"Rollcall, hosts not known", stranger}, {"Rollcall, hosts known", known}} {
		for _, lost := range peerLosses {
			p.Lose(lost, false)
			s := who.sweeps(p.t, who.name, times(40), settle)
			found := peerRow{name: who.name, lost: lost, whole: float64(s.whole) / float64(s.all), last: quantile(s.last, 0.5), returned: quantile(s.returned, 0.5)}
			found.recall = float64(s.heard) / float64(s.all*s.want)
			rows = append(rows, found)
		}
	}
	p.Lose(0, false)
	for _, h := range hosts {
		h.Kill()
	}
	return rows
}

// measure asks as often as the peer says, at each loss.
func (p *peerBed) measure(q peer) (rows []peerRow) {
	stop := q.start()
	defer stop()
	for _, lost := range peerLosses {
		p.Lose(lost, false)
		row := peerRow{name: q.name, lost: lost}
		var last, returned []float64
		for range times(q.runs) {
			name, args := q.ask()
			out, errs, status := p.Run(p.n+1, name, args...)
			heard, l, r, ok := heardLine(out)
			if !ok || status != 0 {
				p.t.Logf("%s: status %d\n%s%s", q.name, status, out, errs)
				continue
			}
			row.recall += float64(heard) / float64(p.n)
			if heard == p.n {
				row.whole++
			}
			last, returned = append(last, l), append(returned, r)
		}
		if len(last) == 0 {
			continue
		}
		row.recall /= float64(len(last))
		row.whole /= float64(len(last))
		row.last, row.returned = quantile(last, 0.5), quantile(returned, 0.5)
		rows = append(rows, row)
	}
	p.Lose(0, false)
	return rows
}

// heardLine finds in what lab/peers prints how many hosts it heard, when the last of them, and when the call returned.
func heardLine(out string) (heard int, last, returned float64, ok bool) {
	for line := range strings.Lines(out) {
		if _, err := fmt.Sscanf(line, "heard %d last %f returned %f", &heard, &last, &returned); err == nil {
			return heard, last, returned, true
		}
	}
	return 0, 0, 0, false
}

// everywhere starts a command on each host that says "ready", and returns what ends them all.
func (p *peerBed) everywhere(ready string, command func(i int) []string) (stop func()) {
	var all []*Process
	for i := 1; i <= p.n; i++ {
		c := command(i)
		all = append(all, p.Start(i, false, c[0], c[1:]...))
	}
	for _, a := range all {
		a.WaitLine(ready, patience)
	}
	return func() {
		for _, a := range all {
			a.Kill()
		}
	}
}

// peers are the others.
func (p *peerBed) peers() []peer {
	self := p.n + 1
	name := func(i int) string {
		if i == self {
			return "laptop" // which counts for nobody
		}
		return fmt.Sprintf("h%d", i)
	}
	var serf func()
	nats := "nats://" + p.Addr(self) + ":4222"
	return []peer{
		{"hashicorp/mdns", func() func() {
			return p.everywhere("ready", func(i int) []string { return []string{p.bin, "mdns-serve", name(i), p.Addr(i)} })
		}, func() (string, []string) { return p.bin, []string{"mdns-query"} }, 20},
		{"avahi-browse", p.avahi, func() (string, []string) {
			// The laptop's own daemon begins anew each time, as after a boot, and is stopped with everything that it started.
			return "sh", []string{"-c", avahiLaptop + p.bin + ` watch '^=;[^;]*;IPv4;(h[0-9]+);' avahi-browse -rtp _rollcall._tcp; kill $(cat /run/avahi-daemon/pid /run/dbus/pid)`}
		}, 10},
		{"serf query", func() func() { serf = p.serf(name); return func() {} }, func() (string, []string) {
			return p.bin, []string{"watch", `^(?:Response|Ack) from '?(h[0-9]+)'?`, "serf", "query", "who"}
		}, 6},
		{"serf members", func() func() { return serf }, func() (string, []string) {
			return p.bin, []string{"watch", `^(h[0-9]+) .*alive`, "serf", "members"}
		}, 20},
		{"NATS $SRV.INFO", func() func() {
			server := p.Start(self, false, "nats-server", "-a", p.Addr(self), "-p", "4222")
			server.WaitLine("ready", patience)
			stop := p.everywhere("ready", func(i int) []string { return []string{p.bin, "nats-serve", nats, name(i)} })
			return func() { stop(); server.Kill() }
		}, func() (string, []string) { return p.bin, []string{"nats-info", nats, "2s"} }, 15},
	}
}

// avahiOwn gives a process folders of its own where avahi and dbus keep what there is once a machine.
const avahiOwn = "mkdir -p /run/avahi-daemon /run/dbus && mount -t tmpfs none /run/avahi-daemon && mount -t tmpfs none /run/dbus && "

// avahiLaptop starts dbus and avahi on the laptop, where avahi-browse needs them.
const avahiLaptop = avahiOwn + `dbus-daemon --system --fork && avahi-daemon --no-drop-root --no-chroot --no-rlimits -D && `

// avahi starts avahi-daemon on every host with a static service.
func (p *peerBed) avahi() (stop func()) {
	service := filepath.Join(p.dir, "avahi")
	return p.everywhere("startup complete", func(i int) []string {
		dir := fmt.Sprintf("%s-%d", service, i)
		files := map[string]string{
			"avahi-daemon.conf": fmt.Sprintf("[server]\nhost-name=h%d\nuse-ipv6=no\nenable-dbus=no\nratelimit-burst=100000\n[publish]\npublish-workstation=no\n", i),
			"hosts":             "",
			"services/rollcall.service": fmt.Sprintf(`<?xml version="1.0"?><!DOCTYPE service-group SYSTEM "avahi-service.dtd"><service-group><name>h%d</name>`+
				`<service><type>_rollcall._tcp</type><port>1883</port><txt-record>gpio hostsensor</txt-record></service></service-group>`, i),
		}
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				p.t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				p.t.Fatal(err)
			}
		}
		return []string{"sh", "-c", avahiOwn + "mount --bind " + dir + " /etc/avahi && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits"}
	})
}

// serf starts an agent on every host and the laptop, and waits until that one knows all.
func (p *peerBed) serf(name func(int) string) (stop func()) {
	self := p.n + 1
	agent := func(i int) []string {
		return []string{"serf", "agent", "-node", name(i), "-bind", p.Addr(i), "-rpc-addr", "127.0.0.1:7373",
			"-retry-join", p.Addr(1), "-retry-interval", "1s", "-event-handler", "query:who=echo gpio hostsensor"}
	}
	others := p.everywhere("agent running", agent)
	mine := agent(self)
	own := p.Start(self, false, mine[0], mine[1:]...)
	for deadline := time.Now().Add(time.Minute); ; {
		out, _, _ := p.Run(self, "serf", "members", "-status", "alive")
		if strings.Count(out, "alive") == p.n+1 {
			break
		}
		if time.Now().After(deadline) {
			p.t.Errorf("serf knows %d of %d", strings.Count(out, "alive"), p.n+1)
			break
		}
	}
	return func() { own.Kill(); others() }
}
