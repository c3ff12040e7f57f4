package discover

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inLAN is set in the process that inNamespace starts in a network namespace of its own.
const inLAN = "ROLLCALL_TEST_IN_LAN"

// TestLAN sweeps by broadcast over bridged interfaces, with each host in its own network namespace.
func TestLAN(t *testing.T) { t.Parallel(); inNamespace(t, lan) }

// inNamespace runs f in a process of its own, in a network namespace with nothing in it. The test calls nothing else.
func inNamespace(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if os.Getenv(inLAN) != "" {
		f(t)
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("no iproute2: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inLAN+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Skipf("no network namespaces here: %v", err)
	} else if ok {
		t.Fatalf("in the namespace: %v\n%s", exit, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Skipf("in the namespace: %s", out)
	}
}

// ip runs the ip command in the namespace of the calling thread.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Skipf("ip %s: %v: %s", args, err, out)
	}
}

// homeNet returns the calling thread's network namespace, with its loopback up.
func homeNet(t *testing.T) *os.File {
	t.Helper()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = home.Close() })
	ip(t, "link set lo up")
	return home
}

// homeLAN is homeNet with the bridge lan0, on which it is 10.77.0.1/24.
func homeLAN(t *testing.T) *os.File {
	t.Helper()
	home := homeNet(t)
	for _, args := range []string{"link add lan0 type bridge", "addr add 10.77.0.1/24 brd + dev lan0", "link set lan0 up"} {
		ip(t, args)
	}
	return home
}

// lan runs in a namespace with nothing in it.
func lan(t *testing.T) {
	home := homeLAN(t)
	const port = 37030
	var beds []*bed
	for i := byte(1); i <= 3; i++ {
		beds = append(beds, lanHost(t, home, i, port))
	}
	self := startBed(t, fmt.Sprintf("0.0.0.0:%d", port), testHost(9, "laptop"), nil)
	// An interface that is down, and one that is left out.
	ip(t, "link add down0 type bridge")
	ip(t, "addr add 10.79.0.1/24 brd + dev down0")
	ip(t, "link add docker0 type bridge")
	ip(t, "addr add 10.80.0.1/24 brd + dev docker0")
	ip(t, "link set docker0 up")

	sweep := func(c SweepConfig) ([]Answer, SweepStats) {
		c.Sealed, c.Port, c.Wait = true, port, 600*time.Millisecond
		return gather(t, c)
	}
	got, stats := sweep(SweepConfig{})
	if len(got) != 4 || stats.Wrong != 0 {
		t.Fatalf("Sweep() found %d hosts, %+v, want 4", len(got), stats)
	}
	if me := got[3]; me.Host.Hostname != "laptop" || len(me.Host.Brokers) != 1 || me.From.Addr() != netip.MustParseAddr("10.77.0.1") {
		t.Errorf("last answer = %+v, want this machine's own, with its broker on loopback", me)
	}
	if p := self.next(); !p.own {
		t.Errorf("published %+v, want one of our own", p)
	}
	got = got[:3]
	for i, a := range got {
		want := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(i) + 11}), port)
		if a.From != want || a.Interface != "lan0" || len(a.Host.MAC) != 6 {
			t.Errorf("host %d answers from %v on %s with MAC %v, want from %v on lan0", i, a.From, a.Interface, a.Host.MAC, want)
		}
		if !a.Host.LoopbackOnly || len(a.Host.Brokers) != 0 {
			t.Errorf("brokers of another machine = %q, loopback only %v, want none, true", a.Host.Brokers, a.Host.LoopbackOnly)
		}
	}
	if len(stats.Warnings) != 0 {
		t.Errorf("warnings = %q, want none: nobody asked for the interfaces left out", stats.Warnings)
	}
	for _, b := range beds {
		if p := b.next(); p.own || p.from.Addr() != netip.MustParseAddr("10.77.0.1") || !strings.HasPrefix(p.request.IPAddr, "10.77.0.1") {
			t.Errorf("published %+v", p)
		}
	}
	if _, stats := sweep(SweepConfig{Interfaces: []string{"lan0", "down0"}}); len(stats.Warnings) != 1 || !strings.Contains(stats.Warnings[0], "it is down") {
		t.Errorf("warnings = %q, want one about down0", stats.Warnings)
	}
	if got, _ := sweep(SweepConfig{Interfaces: []string{"docker0"}}); len(got) != 1 || got[0].Host.Hostname != "laptop" {
		t.Errorf("sweep on docker0, which is named, found %v, want this machine, which has heard that it has come", got)
	}
	got, _ = sweep(SweepConfig{To: []string{"10.77.0.12", "10.77.0.13"}})
	if len(got) != 2 {
		t.Errorf("sweep by unicast found %d hosts, want 2", len(got))
	}
	got, _ = sweep(SweepConfig{To: []string{"10.77.0.255"}})
	if len(got) != 4 {
		t.Errorf("sweep to the broadcast address found %d hosts, want 4", len(got))
	}
	benchLAN(t, beds)
}

// benchLAN reports how a sweep compares with a bare question and answer to as many hosts, as a log line.
func benchLAN(t *testing.T, beds []*bed) {
	var after []time.Duration
	for range 5 {
		got, _ := gather(t, SweepConfig{Sealed: true, Port: Port, Wait: 5 * time.Second, Interfaces: []string{"lan0"}})
		if len(got) != len(beds)+1 {
			t.Errorf("found %d hosts, want %d", len(got), len(beds)+1)
			return
		}
		last := got[0].After
		for _, a := range got {
			last = max(last, a.After)
		}
		after = append(after, last)
	}
	slices.Sort(after)
	t.Logf("last of %d hosts after %v (median of 5 sweeps)", len(beds)+1, after[2])
}

// lanHost runs host i in a network namespace of its own, at 10.77.0.10+i on the bridge lan0.
func lanHost(t *testing.T, home *os.File, i byte, port int) *bed {
	t.Helper()
	b, _ := nsHost(t, home, "lan0", i, port, nil, fmt.Sprintf("addr add 10.77.0.%d/24 brd + dev eth0", 10+i))
	b.start()
	return b
}

// nsHost makes host i in a network namespace of its own, on a port of the bridge, set up by further words of the ip command.
// Only its sockets live there: the thread that made them is given up. close takes the host off the net.
func nsHost(t *testing.T, home *os.File, bridge string, i byte, port int, change func(*ResponderConfig), setup ...string) (*bed, []iface) {
	t.Helper()
	linked, made := make(chan bool), make(chan *bed)
	var list []iface
	go func() {
		defer close(made)
		runtime.LockOSThread() // and never unlocked: the thread, and with it the way into the namespace, ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Logf("unshare: %v", err)
			return
		}
		begin := []string{"link set lo up", fmt.Sprintf("link add eth0 type veth peer name port%d netns /proc/%d/fd/%d", i, os.Getpid(), home.Fd()),
			"link set eth0 addrgenmode none", "link set eth0 up"}
		for _, args := range append(begin, setup...) {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Logf("ip %s: %v: %s", args, err, out)
				return
			}
		}
		linked <- true
		if list = awaitLink(t, "eth0"); list == nil {
			return
		}
		b := newBed(t, fmt.Sprintf("0.0.0.0:%d", port), change)
		join(joining(b.r.c.Conn), list, map[int]bool{}) // before it is swept; the responder does so when it is run
		b.r.ifaces = func() ([]iface, error) { return list, nil }
		made <- b
	}()
	select {
	case <-linked:
	case <-made:
		t.Skip("no network namespace for a host")
	}
	name := fmt.Sprintf("port%d", i)
	ip(t, "link set "+name+" addrgenmode none")
	ip(t, "link set "+name+" master "+bridge+" up")
	b := <-made
	if b == nil || awaitLink(t, name) == nil {
		t.Fatalf("host %d has no link", i)
	}
	b.r.Update(testHost(i, fmt.Sprintf("pi%d", i)))
	return b, list
}

// awaitLink waits until the kernel has noticed that both ends of a link are up, which it does up to a second later, and returns
// the interfaces; nil if that does not happen.
func awaitLink(t *testing.T, name string) []iface {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		list, err := interfaces()
		if err != nil {
			t.Log(err)
			return nil
		}
		if slices.ContainsFunc(list, func(f iface) bool { return f.Name == name && f.Flags&net.FlagRunning != 0 }) {
			return list
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Logf("%s is not up after %v", name, patience)
			return nil
		}
	}
}

func TestSendNeverWaits(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, err := newSender(conn)
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := s.send([]byte("hello"), nil, to); err != nil {
		t.Fatal(err)
	}
	if b := receive(t, conn, patience); string(b) != "hello" {
		t.Errorf("received %q, want hello", b)
	}
	if err := s.send(make([]byte, 70_000), nil, to); err == nil {
		t.Error("send() of 70,000 bytes = nil, want an error")
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.send([]byte("hello"), nil, to); err == nil {
		t.Error("send() on a closed socket = nil, want an error")
	}
}
