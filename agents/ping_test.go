package agents

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"rollcall/config"
	"rollcall/reports"
)

func pingDecode(doc string) (*pingOptions, error) {
	o := pingFactory().Defaults().(*pingOptions)
	node, err := config.ParseNode("ping.yaml", []byte(doc))
	if err == nil {
		err = node.Decode(o)
	}
	return o, err
}

func TestPingOptions(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"{}":                          "hosts: there are none",
		"hosts: {a: {}}\npoll: 100ms": "too often",
		"hosts: {a: {}}\npoll: 1s\ntimeout: 900ms":  "ping.yaml:3: timeout: 900ms must be",
		"hosts: {a: {}}\ntimeout: -1s":              "is negative",
		"hosts: {a: {}}\nwindow: 0":                 "0 is not from 1 to 1000",
		"hosts: {\"a/b\": {}}":                      "can't be the name of points",
		"hosts: {status: {}}":                       "can't be the name of points",
		"hosts: {simulated: {}}":                    "can't be the name of points",
		"hosts: {a: {family: 5}}":                   "is not 4 or 6",
		"hosts: {a: {address: \"x y\"}}":            "neither a name nor an address",
		"hosts: {a: {address: 224.0.0.1}}":          "not the address of one host",
		"hosts: {a: {address: 0.0.0.0}}":            "not the address of one host",
		"hosts: {a: {address: 255.255.255.255}}":    "not the address of one host",
		"hosts: {a: {address: \"ff02::1\"}}":        "not the address of one host",
		"hosts: {a: {address: \"::1\", family: 4}}": "no address of IPv4",
		"hosts: {a: {adress: b}}":                   "adress",
	} {
		if _, err := pingDecode(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
	if o, err := pingDecode("hosts: {a: {}, b: {address: \"fe80::1%eth0\", family: 6}}"); err != nil || o.Hosts["a"].address("a") != "a" {
		t.Errorf("%+v, %v", o, err)
	}
}

// pingFake answers as the test says.
type pingFake func(ctx context.Context, h pingHost) (time.Duration, error)

func (f pingFake) echo(ctx context.Context, h pingHost) (time.Duration, error) { return f(ctx, h) }

func TestPingWindow(t *testing.T) {
	t.Parallel()
	o, err := pingDecode("hosts: {a: {}, b: {}}\nwindow: 4")
	if err != nil {
		t.Fatal(err)
	}
	now, sent := "+", 0
	p, err := newPing(*o, pingFake(func(_ context.Context, h pingHost) (time.Duration, error) {
		if h.Address == "b" {
			return 0, errors.New("resolve \"b\": no such host")
		}
		sent++
		switch now {
		case "+":
			return 1500 * time.Microsecond, nil
		case "-":
			return 0, fmt.Errorf("%w: no route", errPingLost)
		}
		return 0, errors.New("operation not permitted")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		now  string
		loss float64
	}{{"+", 0}, {"-", 50}, {"-", 100. * 2 / 3}, {"-", 75}, {"-", 100}, {"+", 75}, {"!", -1}, {"+", 50}} {
		now = step.now
		readings, err := p.SampleAll(t.Context(), []string{"a/reachable", "a/round_trip", "a/loss"})
		if sent != i+1 {
			t.Fatalf("step %d: %d requests", i, sent)
		}
		if step.now == "!" {
			if err == nil || len(readings) != 0 || strings.Count(err.Error(), "operation not permitted") != 3 {
				t.Errorf("step %d: %v, %v", i, readings, err)
			}
			continue
		}
		if err != nil || len(readings) != 3 {
			t.Fatalf("step %d: %v, %v", i, readings, err)
		}
		up := step.now == "+"
		if readings[0].Value != up || readings[2].Value != step.loss {
			t.Errorf("step %d: reachable %v, loss %v, want %v, %v", i, readings[0].Value, readings[2].Value, up, step.loss)
		}
		if trip := readings[1]; trip.Stale == up || up && trip.Value != 1.5 || !up && trip.Value != nil {
			t.Errorf("step %d: round trip %+v", i, trip)
		}
	}
	// A host of which nothing is known does not hide the other.
	readings, err := p.SampleAll(t.Context(), []string{"b/reachable", "a/reachable"})
	if len(readings) != 1 || readings[0].Path != "a/reachable" || err == nil || err.Error() != "b/reachable: resolve \"b\": no such host" {
		t.Errorf("%v, %v", readings, err)
	}
	if _, err := p.Sample(t.Context(), "c/loss"); reports.CodeOf(err) != reports.CodeUnknown {
		t.Errorf("c/loss: %v", err)
	}
}

// A name server that says nothing takes no longer than the timeout, and the name is asked for each time.
func TestPingResolve(t *testing.T) {
	t.Parallel()
	asked := 0
	n := &pingNetwork{resolve: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		if asked++; network != "ip4" || host != "slow" {
			t.Errorf("asked for %s of %s", network, host)
		}
		<-ctx.Done()
		return nil, errors.New("i/o timeout")
	}}
	p, err := newPing(pingOptions{Hosts: map[string]pingHost{"a": {Address: "slow", Family: "4"}}, Timeout: reports.Duration(20 * time.Millisecond), Window: 1}, n)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Sample(t.Context(), "a/reachable"); err == nil || err.Error() != `a/reachable: resolve "slow": context deadline exceeded` {
			t.Errorf("error %v", err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
	found := []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("::1")}
	n.resolve = func(context.Context, string, string) ([]netip.Addr, error) { return found, nil }
	for family, want := range map[string]string{"": "127.0.0.1", "4": "127.0.0.1", "6": "::1"} {
		if got, err := n.address(t.Context(), pingHost{Address: "x", Family: family}); err != nil || got.String() != want {
			t.Errorf("family %q: %v, %v", family, got, err)
		}
	}
	found = found[:1]
	if _, err := n.address(t.Context(), pingHost{Address: "x", Family: "6"}); err == nil || err.Error() != `"x" has no address of IPv6` {
		t.Errorf("no IPv6: %v", err)
	}
	found = []netip.Addr{netip.MustParseAddr("224.0.0.1")}
	if _, err := n.address(t.Context(), pingHost{Address: "x"}); err == nil {
		t.Error("a name that resolves to a group is pinged")
	}
}

// pingInside is set in the process that TestPingKernel starts in a network namespace of its own.
const pingInside = "ROLLCALL_TEST_PING_INSIDE"

// TestPingKernel sends real requests: to loopback, in a namespace where the test may say who may send and what is answered.
func TestPingKernel(t *testing.T) {
	t.Parallel()
	if os.Getenv(pingInside) != "" {
		pingKernel(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPingKernel$", "-test.v")
	cmd.Env = append(os.Environ(), pingInside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	exit, ran := errors.AsType[*exec.ExitError](err)
	switch {
	case err != nil && !ran && os.Getenv("ROLLCALL_LAB") == "1":
		t.Fatalf("no network namespaces here: %v", err)
	case err != nil && !ran:
		t.Skipf("no network namespaces here: %v", err)
	case ran:
		t.Fatalf("in the namespace: %v\n%s", exit, out)
	case !strings.Contains(string(out), "--- PASS: TestPingKernel"):
		t.Skipf("in the namespace: %s", out)
	}
}

// pingSysctl sets a variable of the namespace.
func pingSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Skipf("%s: %v", name, err)
	}
}

func pingKernel(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Skipf("bring lo up: %v", err)
	}
	f := pingFactory() // in a new namespace nobody may send: 1 0
	o, err := pingDecode("hosts:\n  v4: {address: 127.0.0.1}\n  v6: {address: \"::1\"}\n  name: {address: localhost, family: 4}\n" +
		"  away: {address: 192.0.2.1}\n  none: {address: none.invalid}\npoll: 1s\ntimeout: 500ms\nwindow: 2\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.New(o, Deps{}); err == nil || !strings.Contains(err.Error(), `now "`) || !strings.Contains(err.Error(), "sysctl -w net.ipv4.ping_group_range=") {
		t.Fatalf("nobody may send: %v", err)
	}
	pingSysctl(t, "ipv4/ping_group_range", "0 0")
	agent, err := f.New(o, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	sample := func(path string) any {
		t.Helper()
		r, err := agent.(Sampler).Sample(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return r.Value
	}
	for _, host := range []string{"v4", "v6", "name"} {
		if got := sample(host + "/reachable"); got != true {
			t.Errorf("%s reachable: %v", host, got)
		}
		if trip, ok := sample(host + "/round_trip").(float64); !ok || trip <= 0 || trip > 500 {
			t.Errorf("%s: round trip %v ms", host, trip)
		}
	}
	if got := sample("away/reachable"); got != false { // there is no route
		t.Errorf("away reachable: %v", got)
	}
	if _, err := agent.(Sampler).Sample(t.Context(), "none/reachable"); err == nil || !strings.Contains(err.Error(), `resolve "none.invalid"`) {
		t.Errorf("a name that is nobody's: %v", err)
	}
	// The host falls silent, and is back.
	for _, step := range []struct {
		ignore string
		up     bool
		loss   float64
	}{{"1", false, 50}, {"1", false, 100}, {"0", true, 50}, {"0", true, 0}} {
		pingSysctl(t, "ipv4/icmp_echo_ignore_all", step.ignore)
		got, err := agent.(BatchSampler).SampleAll(t.Context(), []string{"v4/reachable", "v4/loss"})
		if err != nil || len(got) != 2 || got[0].Value != step.up || got[1].Value != step.loss {
			t.Errorf("ignored %s: %+v, %v, want %v, %v %%", step.ignore, got, err, step.up, step.loss)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := agent.(Sampler).Sample(ended, "v4/reachable"); err == nil {
		t.Error("a sample whose context had ended")
	}
}

func TestPingIsAnswer(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		request, data, err := pingRequest(v6)
		if err != nil || len(data) != pingBytes {
			t.Fatal(err)
		}
		reply := icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.Echo{ID: 7, Seq: 1, Data: data}}
		if v6 {
			reply.Type = ipv6.ICMPTypeEchoReply
		}
		packet, err := reply.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			packet []byte
			want   bool
		}{
			"answer": {packet, true}, "the request itself": {request, false}, "cut": {packet[:10], false}, "nothing": {nil, false},
			"other data": {append(packet[:len(packet)-1:len(packet)-1], data[pingBytes-1]^1), false}, "longer": {append(packet[:len(packet):len(packet)], 0), false},
		} {
			if got := pingIsAnswer(c.packet, data, v6); got != c.want {
				t.Errorf("IPv6 %v, %s: %v, want %v", v6, name, got, c.want)
			}
		}
	}
}

func FuzzPingIsAnswer(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x07\x00\x010123456789abcdef"), false)
	f.Add([]byte("\x81\x00\x00\x00\x00\x07\x00\x010123456789abcdef"), true)
	f.Add([]byte("\x03\x01\x00\x00"), false)
	f.Fuzz(func(t *testing.T, packet []byte, v6 bool) {
		data := []byte("0123456789abcdef")
		if pingIsAnswer(packet, data, v6) && !strings.HasSuffix(string(packet), string(data)) {
			t.Errorf("%q is taken for an answer", packet)
		}
	})
}
