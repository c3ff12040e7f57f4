package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
)

// The same datagram is sent until the spy has seen enough: as root it sees frames, else what comes to its socket.
func TestSpyUDP(t *testing.T) {
	t.Parallel()
	free, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	port := free.LocalAddr().(*net.UDPAddr).Port
	_ = free.Close() // its port was wanted
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	question, err := discover.Request{Sweep: 77, Seq: 1, Round: 1, Time: time.Now(), Copies: 1, Want: "pizero*"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l := newLaptop(t)
	spy := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var out, errs bytes.Buffer
		ended := make(chan int)
		go func() {
			ended <- run(ctx, append([]string{"--cache", l.cache, "--keys", l.keys, "spy", "--udp", "--interface", loopback(t), "--port", strconv.Itoa(port), "-n", "2"}, args...),
				strings.NewReader(""), &out, &errs)
		}()
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case code := <-ended:
				if code != 0 || strings.Contains(errs.String(), "CAP_NET_RAW") != strings.Contains(errs.String(), "only what is sent to everybody") {
					t.Errorf("spy --udp %q: status %d\n%s", args, code, errs.String())
				}
				return out.String()
			case <-tick.C:
				_, _ = conn.Write(question) // nobody need have the port
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(spy()), "\n")
	if want := ":" + strconv.Itoa(port); len(lines) != 2 || !strings.Contains(lines[0], "request bytes=1200 sweep=77 round=1 seq=1 signature=none copies=1 want=pizero*") ||
		!strings.Contains(lines[0], want) && !strings.Contains(lines[0], "port "+want[1:]) {
		t.Errorf("spy --udp = %q, want two requests", lines)
	}
	for line := range strings.Lines(spy("--json")) {
		var got struct {
			Form, From, Want string
			Sweep, Bytes     int
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Form != "request" || got.Sweep != 77 || got.Bytes != 1200 || got.Want != "pizero*" || got.From == "" {
			t.Errorf("spy --udp --json = %s, %v: %+v", line, err, got)
		}
	}
	for _, args := range [][]string{{"--udp", "/x"}, {"--udp", "--host", "pi"}, {"--udp", "--port", "0"}, {"--udp", "-n", "-1"}} {
		l.want(2, append([]string{"spy"}, args...)...)
	}
	if _, errs := l.want(1, "spy", "--udp", "--interface", "nowhere0"); !strings.Contains(errs, `interface "nowhere0": there is none of this name`) {
		t.Errorf("spy --udp on no interface says %q", errs)
	}
}

// loopback returns the name of the loopback interface.
func loopback(t *testing.T) string {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Flags&net.FlagLoopback != 0 {
			return f.Name
		}
	}
	t.Skip("no loopback interface")
	return ""
}

func TestSightingLine(t *testing.T) {
	t.Parallel()
	f := discover.Frame{At: time.Date(2026, 11, 22, 10, 20, 30, 4000, time.Local), Interface: "eth0", From: netip.MustParseAddrPort("10.9.1.4:37030"),
		To: netip.AddrPortFrom(netip.Addr{}, 37030), Data: make([]byte, 7)}
	s := discover.Sighting{Form: "batch", Details: []discover.Detail{{Name: "own", Value: true}, {Name: "model", Value: "Pi \x1b[2J 4"}, {Name: "links", Value: []string{"a", "b"}},
		{Name: "replies", Value: [][]discover.Detail{{{Name: "from", Value: "10.9.1.5"}, {Name: "tx", Value: 2}}}}}}
	want := `10:20:30.000004 eth0 10.9.1.4:37030 > port 37030 batch bytes=7 own model="Pi \x1b[2J 4" links="a,b" replies=1 {from=10.9.1.5 tx=2}`
	if got := sightingLine(f, s); got != want {
		t.Errorf("sightingLine() = %s\nwant %s", got, want)
	}
}
