package lab

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Routed is two networks with a slow line between them: hosts 1 to Near are in 10.77.0.0/24, the others in 10.78.0.0/24, and a
// router stands in each.
type Routed struct {
	*LAN
	Near, Far int
}

var (
	wanFar   = flag.String("wan-far", "", "network namespace at the other end of the line; for TestWAN alone")
	wanDelay = flag.Duration("wan-delay", 0, "how long a packet is under way")
	wanLoss  = flag.Float64("wan-loss", 0, "share of packets that get lost")
)

// FarAddr returns the address of host i, which is in the far network.
func (r *Routed) FarAddr(i int) string { return fmt.Sprintf("10.78.0.%d", i) }

// NewRouted makes the networks. A packet takes delay from one to the other, if it is not among the share that gets lost.
func NewRouted(t testing.TB, near, far int, delay time.Duration, loss float64) *Routed {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("the line between the routers needs TUN: %v", err)
	}
	hosts := near + far
	r := &Routed{LAN: NewLAN(t, hosts+2), Near: near, Far: far}
	left, right := hosts+1, hosts+2
	sw := r.name + "-sw"
	do := func(format string, args ...any) {
		words := strings.Fields(fmt.Sprintf(format, args...))
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
	do("ip -n %s link add br1 type bridge", sw)
	do("ip -n %s link set br1 up", sw)
	for i := near + 1; i <= hosts+2; i++ {
		if i == left {
			continue
		}
		do("ip -n %s link set v%d master br1", sw, i)
		do("ip -n %s addr flush dev eth0", r.NS(i))
		do("ip -n %s addr add %s/24 brd + dev eth0", r.NS(i), r.FarAddr(i))
	}
	for _, i := range []int{left, right} {
		run(t, r.LAN, i, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	}
	r.Start(left, false, os.Args[0], "-test.run", "^TestWAN$", "-wan-far", r.NS(right), "-wan-delay", delay.String(), "-wan-loss", fmt.Sprint(loss)).WaitLine("line is up", patience)
	do("ip -n %s route add 10.78.0.0/24 via 10.99.0.2", r.NS(left))
	do("ip -n %s route add 10.77.0.0/24 via 10.99.0.1", r.NS(right))
	for i := 1; i <= near; i++ {
		do("ip -n %s route add 10.78.0.0/24 via %s", r.NS(i), r.Addr(left))
	}
	for i := near + 1; i <= hosts; i++ {
		do("ip -n %s route add 10.77.0.0/24 via %s", r.NS(i), r.FarAddr(right))
	}
	return r
}

// TestWAN is no test: it is the line between two routers, of which it runs at one.
func TestWAN(t *testing.T) {
	if *wanFar == "" {
		t.Skip("run by tests as a program")
	}
	runtime.LockOSThread() // the thread changes its network namespace, and ends with the program
	near := tun(t, "10.99.0.1", "10.99.0.2")
	ns, err := unix.Open(filepath.Join("/run/netns", *wanFar), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Setns(ns, unix.CLONE_NEWNET)
	}
	if err != nil {
		t.Fatal(err)
	}
	far := tun(t, "10.99.0.2", "10.99.0.1")
	fmt.Println("line is up")
	go carry(near, far)
	carry(far, near)
}

// tun opens one end of the line.
func tun(t *testing.T, local, peer string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, err := unix.NewIfreq("wan0")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"addr add " + local + " peer " + peer + " dev wan0", "link set wan0 txqueuelen 10000 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "wan0")
}

// carry passes packets on, each after the line's delay.
func carry(from, to *os.File) {
	type packet struct {
		b   []byte
		due time.Time
	}
	line := make(chan packet, 10_000)
	go func() {
		for p := range line {
			if wait := time.Until(p.due); wait > 0 {
				<-time.After(wait)
			}
			_, _ = to.Write(p.b) // a packet that is lost is a packet that is lost
		}
	}()
	buf := make([]byte, 2000)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if rand.Float64() < *wanLoss {
			continue
		}
		line <- packet{slices.Clone(buf[:n]), time.Now().Add(*wanDelay)}
	}
}

// BootFar starts udpmon on host i of the far network, which obeys the operator of host 1.
func (r *Routed) BootFar(t testing.TB, i int, discovery string) *Process {
	t.Helper()
	operators := filepath.Join(r.dir, "authorized_operators")
	if _, err := os.Stat(operators); err != nil {
		line, errs, status := r.Run(1, "udpsrv", "key", "show")
		if status != 0 {
			t.Fatalf("key show: %s", errs)
		}
		if err := os.WriteFile(operators, []byte("read "+line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(r.dir, fmt.Sprintf("rollcall-%d.yaml", i))
	text := fmt.Sprintf("host: pi%d\nstate_dir: %s\nbroker: {listen_tls: off}\ndiscovery: {authorized_operators: %s%s}\n", i,
		filepath.Join(r.dir, fmt.Sprintf("state-%d", i)), operators, discovery)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r.Start(i, true, "udpmon", "--config", file)
}

// relayedSweep is what `udpsrv sweep --json` says of hosts and relays.
type relayedSweep struct {
	Complete bool `json:"complete"`
	Hosts    []struct {
		Hostname string `json:"hostname"`
		IPAddr   string `json:"ipaddr"`
	} `json:"hosts"`
	Relays []struct {
		Hostname string `json:"hostname"`
		IPAddr   string `json:"ipaddr"`
		Known    bool   `json:"known"`
	} `json:"relays"`
}

// TestRoutedNetworks sweeps a network behind two routers with the real programs: first when nobody there is known, then through
// one that is.
func TestRoutedNetworks(t *testing.T) {
	Need(t)
	const near, far, off = 1, 8, 9 // host 9 does not relay
	r := NewRouted(t, near, far, 2*time.Millisecond, 0)
	udpmons := map[int]*Process{}
	var want []string
	for i := near + 1; i <= near+far; i++ {
		discovery := ""
		if i == off {
			discovery = ", relay: false"
		}
		udpmons[i] = r.BootFar(t, i, discovery)
		want = append(want, fmt.Sprintf("pi%d %s", i, r.FarAddr(i)))
	}
	slices.Sort(want)
	sweep := func(args ...string) (out relayedSweep, text string, status int) {
		t.Helper()
		text, errs, status := r.Run(1, "udpsrv", append([]string{"sweep", "--json", "--subnet"}, args...)...)
		if status == 0 {
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatalf("sweep: %v\n%s", err, text)
			}
		}
		return out, errs, status
	}
	whole := func(what string) relayedSweep {
		t.Helper()
		got, errs, status := sweep("10.78.0.0/24")
		var names []string
		for _, h := range got.Hosts {
			names = append(names, h.Hostname+" "+h.IPAddr)
		}
		if status != 0 || !slices.Equal(names, want) || !got.Complete || len(got.Relays) != 1 {
			t.Fatalf("%s: exit %d, %+v\n%s\nwant %q, complete, by one relay", what, status, got, errs, want)
		}
		return got
	}
	if first := whole("nobody is known"); first.Relays[0].Known {
		t.Errorf("relay %+v is known, which nobody is", first.Relays[0])
	}
	for i := near + 1; i <= near+far; i++ {
		if _, errs, status := r.Run(1, "udpsrv", "trust", "--yes", "--subnet", "10.78.0.0/24", fmt.Sprintf("pi%d", i)); status != 0 {
			t.Fatalf("trust pi%d: exit %d\n%s", i, status, errs)
		}
	}
	for i := range udpmons {
		run(t, r.LAN, i, "ip", "neigh", "flush", "all")
	}
	relay := whole("all are known").Relays[0]
	if !relay.Known {
		t.Errorf("relay %+v is not known", relay)
	}
	for i, p := range udpmons {
		if r.FarAddr(i) != relay.IPAddr {
			p.WaitLine("neighbour="+`"`+relay.IPAddr+" is at ", patience)
			if entry := run(t, r.LAN, i, "ip", "neigh", "show", "to", relay.IPAddr); !strings.Contains(entry, "lladdr") {
				t.Errorf("pi%d has not installed the relay: %q", i, entry)
			}
		}
	}
	// The only host of this range relays for nobody: 10.78.0.8 is its network, and nobody is known.
	if _, errs, status := sweep("10.78.0.8/30", "--cache", filepath.Join(r.dir, "empty.json")); status == 0 || !strings.Contains(errs, "no host there relays") {
		t.Errorf("through a host that does not relay: exit %d\n%s", status, errs)
	}
}

// TestSpyOnTheLAN has a host hear what passes between others, who speak by way of its network's relay, and open it with the key.
func TestSpyOnTheLAN(t *testing.T) {
	Need(t)
	r := NewRouted(t, 1, 3, 0, 0)
	for i := 2; i <= 3; i++ {
		r.BootFar(t, i, "")
	}
	keys := filepath.Join(r.dir, "config-1", "rollcall")
	lines := func(what string, args ...string) *Process {
		p := r.Start(1, false, "udpsrv", append([]string{"--keys", keys, "spy", "--udp"}, args...)...)
		deadline := time.After(patience)
		for !strings.Contains(strings.Join(p.Lines(), "\n"), "batch") { // it may have begun in the middle of a sweep
			if _, errs, status := r.Run(1, "udpsrv", "sweep", "--subnet", "10.78.0.0/24"); status != 0 {
				t.Fatalf("%s: %s", what, errs)
			}
			select {
			case <-deadline:
				t.Fatalf("%s: nothing was heard", what)
			default:
			}
		}
		return p
	}
	p := lines("lines")
	for _, want := range []string{" ticket bytes=512 ", " offer bytes=", " order bytes=", " batch bytes=", "hostname=pi2", "hostname=pi3"} {
		p.WaitLine(want, patience)
	}
	p.Stop()
	p = lines("JSON", "--json", "-n", "50")
	for _, line := range p.Lines() {
		if line == "" {
			continue
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil || got["form"] == nil || got["interface"] != "eth0" {
			t.Errorf("spy --udp --json: %v: %s", err, line)
		}
	}
}

// TestRoutedNetworksWithLosses sweeps over a line that loses a tenth of the packets each way, a batch of replies at a time: what
// calls itself complete is, both while the hosts' keys are not known and when they are, and the first request goes with the ticket.
func TestRoutedNetworksWithLosses(t *testing.T) {
	Need(t)
	const hosts, patient = 10, 20 // each takes 20 tickets a minute
	r := NewRouted(t, 1, hosts, 2*time.Millisecond, 0.1)
	for i := 2; i < 2+hosts; i++ {
		r.BootFar(t, i, "")
	}
	lossy(t, r, hosts, patient)
	for i := 2; i < 2+hosts; i++ {
		for try := 1; ; try++ {
			_, errs, status := r.Run(1, "udpsrv", "trust", "--yes", "--subnet", "10.78.0.0/24", fmt.Sprintf("pi%d", i))
			if status == 0 {
				break
			}
			if try == patient {
				t.Fatalf("trust pi%d: exit %d\n%s", i, status, errs)
			}
		}
	}
	lossy(t, r, hosts, patient)
}

// lossy sweeps so often, or as often as ROLLCALL_LONG says.
func lossy(t *testing.T, r *Routed, hosts, sweeps int) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_LONG")); err == nil {
		sweeps = n
	}
	complete := 0
	for range sweeps {
		text, errs, status := r.Run(1, "udpsrv", "sweep", "--json", "--subnet", "10.78.0.0/24")
		var got relayedSweep
		if err := json.Unmarshal([]byte(text), &got); status != 0 || err != nil {
			t.Errorf("sweep: exit %d, %v\n%s", status, err, errs)
			continue
		}
		if got.Complete {
			complete++
		}
		if got.Complete && len(got.Hosts) != hosts {
			t.Errorf("a sweep that calls itself complete found %d of %d hosts\n%s", len(got.Hosts), hosts, errs)
		}
	}
	t.Logf("%d of %d sweeps were complete", complete, sweeps)
	if complete < sweeps*3/4 {
		t.Errorf("%d of %d sweeps were complete", complete, sweeps)
	}
}
