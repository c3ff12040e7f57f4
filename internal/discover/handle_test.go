package discover

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"rollcall/reports"
)

// original is a request in the original form whose replyto is the requester.
func original(id any, replyto string) []byte {
	return fmt.Appendf(nil, `{"cmd":"status","replyto":"%s","topic":"/t","id":%v}`, replyto, id)
}

// give hands a datagram to a responder that is not run.
func give(b *bed, raw []byte, src string, on int) outcome {
	d := datagram{b: raw, src: netip.AddrPortFrom(netip.MustParseAddr(src), 4242), at: b.r.c.Now(), iface: on}
	o, _ := b.r.handle(&d)
	return o
}

func TestSources(t *testing.T) {
	t.Parallel()
	const lo, eth = 1, 2
	tests := []struct {
		src    string
		on     int
		sealed outcome
		json   outcome
	}{
		{"192.168.1.7", eth, answered, accepted},
		{"::ffff:192.168.1.7", eth, answered, accepted},
		{"192.168.1.50", eth, answered, accepted}, // our own broadcast
		{"192.168.1.50", lo, answered, accepted},
		{"127.0.0.1", lo, answered, accepted},
		{"127.0.0.1", eth, offLink, offLink},
		{"192.168.1.7", lo, offLink, offLink},
		{"192.168.2.7", eth, offLink, offLink},
		{"192.168.1.255", eth, offLink, offLink},
		{"192.168.1.0", eth, offLink, offLink},
		{"0.0.0.0", eth, offLink, offLink},
		{"203.0.113.9", eth, offLink, offLink},
		{"10.8.3.4", eth, offLink, accepted}, // in reply_to; no sealed request comes from there in the open mode
		{"192.168.1.7", 3, offLink, offLink},
		{"192.168.1.7", -1, offLink, offLink},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.src, " on ", tt.on), func(t *testing.T) {
			t.Parallel()
			b, replies, to := fuzzBed(t)
			if got := give(b, mustMarshal(t, question(1, 1)), tt.src, tt.on); got != tt.sealed {
				t.Errorf("sealed request = %v, want %v", got, tt.sealed)
			}
			if got := give(b, original(2, strings.TrimPrefix(tt.src, "::ffff:")), tt.src, tt.on); got != tt.json {
				t.Errorf("original request = %v, want %v", got, tt.json)
			}
			if want := tt.sealed == answered; want != (len(*replies) == 1) {
				t.Errorf("%d replies to %v", len(*replies), *to)
			}
		})
	}
}

func TestSourceMayBeSigned(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	for i, tt := range []struct {
		requester string
		want      outcome
	}{{"192.168.1.7", answered}, {"192.168.1.8", wrongSource}, {"fd00::7", wrongSource}} {
		q := question(1, uint32(i+1))
		q.Requester = netip.MustParseAddr(tt.requester)
		if got := give(b, mustMarshal(t, q), "192.168.1.7", 2); got != tt.want {
			t.Errorf("request that says it is from %s, from 192.168.1.7 = %v, want %v", tt.requester, got, tt.want)
		}
	}
}

// TestReplyTellsOfItsInterface checks the MAC and the address that the reply leaves from.
func TestReplyTellsOfItsInterface(t *testing.T) {
	t.Parallel()
	b, replies, _ := fuzzBed(t)
	var oobs []string
	record := b.r.reply
	b.r.reply = func(raw, oob []byte, to netip.AddrPort) error {
		var cm ipv4.ControlMessage
		if err := cm.Parse(oob); err != nil {
			t.Error(err)
		}
		oobs = append(oobs, fmt.Sprint(cm.IfIndex, bytes.Contains(oob, []byte{192, 168, 1, 50})))
		return record(raw, oob, to)
	}
	for i, dst := range []string{"192.168.1.255", "192.168.1.50", "255.255.255.255"} {
		d := datagram{b: mustMarshal(t, question(1, uint32(i+1))), src: netip.MustParseAddrPort("192.168.1.7:1"), at: time.Now(), iface: 2,
			dst: netip.MustParseAddr(dst)}
		if o, err := b.r.handle(&d); o != answered {
			t.Fatalf("to %s: %v, %v", dst, o, err)
		}
		r, err := ParseReply((*replies)[i])
		if err != nil || r.MAC != [6]byte{2, 0, 0, 0, 0, 1} {
			t.Errorf("to %s: MAC of the reply = %x, %v", dst, r.MAC, err)
		}
	}
	if want := []string{"2 true", "2 true", "2 true"}; !slices.Equal(oobs, want) {
		t.Errorf("replies leave by (interface, from 192.168.1.50) %q, want %q", oobs, want)
	}
}

func TestNewInterfaceIsLearnt(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	now := time.Now()
	b.r.c.Now = func() time.Time { return now }
	list, err := home()
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	b.r.ifaces = func() ([]iface, error) { listed++; return list, nil }
	b.r.refresh(now, tableAge)
	list = append(list, iface{Index: 3, Name: "wlan0", Flags: net.FlagUp | net.FlagBroadcast,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.9/16")}, Addrs: addrs("10.1.0.9")})
	ask := func(seq uint32) outcome {
		q := question(1, seq)
		q.Time = now
		return give(b, mustMarshal(t, q), "10.1.0.7", 3)
	}
	if got := ask(1); got != offLink || listed != 1 {
		t.Errorf("at once: %v after %d lists, want off_link after 1: strangers can't have us list all the time", got, listed)
	}
	now = now.Add(tableRetry)
	if got := ask(2); got != answered || listed != 2 {
		t.Errorf("a second later: %v after %d lists, want answered after 2", got, listed)
	}
	b.r.ifaces = func() ([]iface, error) { return nil, errors.New("no netlink") }
	now = now.Add(tableAge)
	b.r.refresh(now, tableAge)
	if got := ask(3); got != answered {
		t.Errorf("when they can't be listed: %v, want answered from the old list", got)
	}
}

func TestAnswersOfOneRequesterAreLimited(t *testing.T) {
	t.Parallel()
	count := func(src, replyto string, n int) (o map[outcome]int, published int) {
		b, _, _ := fuzzBed(t)
		o = map[outcome]int{}
		for i := range n {
			o[give(b, original(i, replyto), src, 2)]++
			list, err := home()
			if err != nil {
				t.Fatal(err)
			}
			drain(t, b, machineOf(list), netip.MustParseAddr(src))
		}
		return o, int(b.r.Stats()["published"])
	}
	if o, n := count("192.168.1.7", "192.168.1.7", 50); o[accepted] != 20 || o[destination] != 30 || n != 20 {
		t.Errorf("50 requests of a neighbour: %v, %d published, want 20", o, n)
	}
	if o, n := count("192.168.1.50", "192.168.1.50", 50); o[accepted] != 50 || n != 50 {
		t.Errorf("50 requests of our own: %v, %d published, want all", o, n)
	}
	// Many requesters can't have one listed collector hammered.
	b, _, _ := fuzzBed(t)
	for i := range 50 {
		give(b, original(i, "10.8.0.1"), fmt.Sprintf("192.168.1.%d", 60+i), 2)
	}
	for len(b.r.jobs) > 0 {
		b.r.finish(t.Context(), <-b.r.jobs)
	}
	if s := b.r.Stats(); s["published"] != 20 || s["destination_rate"] != 30 {
		t.Errorf("50 requesters with one collector: %v, want 20 published", nonzero(s))
	}
}

// A sweep in both forms, every five seconds for ten minutes, is published each time: the two forms are one request.
func TestBothFormsTakeOneToken(t *testing.T) {
	t.Parallel()
	for name, sealedFirst := range map[string]bool{"sealed first": true, "original first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _, _ := fuzzBed(t)
			now := time.Now()
			b.r.c.Now = func() time.Time { return now }
			const sweeps = 120
			for i := 1; i <= sweeps; i++ {
				at := func(raw []byte) outcome {
					o, _ := b.r.handle(&datagram{b: raw, src: netip.MustParseAddrPort("192.168.1.7:4242"), at: now, iface: 2})
					return o
				}
				q := question(uint64(i), 1)
				q.Time = now
				sealed := func() {
					if o := at(mustMarshal(t, q)); o != answered {
						t.Errorf("sweep %d, sealed: %v", i, o)
					}
				}
				if sealedFirst {
					sealed()
				}
				if o := at(original(i, "192.168.1.7")); o != accepted {
					t.Errorf("sweep %d, original: %v", i, o)
				}
				if !sealedFirst {
					sealed()
				}
				b.r.handDue(time.Now().Add(time.Hour))
				for len(b.r.jobs) > 0 {
					b.r.finish(t.Context(), <-b.r.jobs)
				}
				now = now.Add(5 * time.Second)
			}
			if s := b.r.Stats(); s["published"] != sweeps || s["duplicate"] != sweeps || s["destination_rate"] != 0 {
				t.Errorf("%d sweeps: %v", sweeps, nonzero(s))
			}
		})
	}
}

// The sealed form pays for one request of its id, not for every one that the guard refuses.
func TestRefusedOriginalsAreLimited(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	give(b, mustMarshal(t, question(1241, 1)), "192.168.1.7", 2)
	o := map[outcome]int{}
	for range 50 {
		o[give(b, original(1241, "192.168.1.9"), "192.168.1.7", 2)]++ // which the guard refuses
		for len(b.r.jobs) > 1 {
			<-b.r.jobs
		}
		b.r.published.drop(b.r.hash(netip.MustParseAddr("192.168.1.7"), 0, 0, []byte("1241")))
	}
	if o[accepted] != 20 || o[destination] != 30 {
		t.Errorf("50 requests of one id: %v, want 20 accepted", o)
	}
}

func TestQueuesAreBounded(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	b.r.jsonRate = newLimiter(pace{1e6, 1e6}, pace{1e6, 1e6})
	busyAt := func(replyto string) int {
		for i := range 10_000 {
			if give(b, fmt.Appendf(nil, `{"cmd":"status","replyto":"%s","topic":"/t","id":"%s %d"}`, replyto, replyto, i), "192.168.1.50", 2) == busy {
				return i
			}
		}
		return -1
	}
	if n := busyAt("localhost"); n != jobQueue/4 {
		t.Errorf("busy after %d names, want %d", n, jobQueue/4)
	}
	if n := busyAt("192.168.1.50"); n != jobQueue {
		t.Errorf("busy after %d addresses, want %d", n, jobQueue)
	}
	got := give(b, mustMarshal(t, question(1, 1)), "192.168.1.50", 2)
	if b.r.handDue(time.Now().Add(time.Hour)); got != answered || b.r.Stats()["busy"] != 1 {
		t.Errorf("sealed request with a full queue = %v, outcomes %v, want answered, and busy once", got, nonzero(b.r.Stats()))
	}
	// What was refused for want of room may come again.
	for len(b.r.jobs) > 0 {
		<-b.r.jobs
	}
	if got := give(b, fmt.Appendf(nil, `{"cmd":"status","replyto":"192.168.1.50","topic":"/t","id":"192.168.1.50 %d"}`, jobQueue), "192.168.1.50", 2); got != accepted {
		t.Errorf("request that was refused when busy = %v, want accepted", got)
	}
}

func TestRefusedIDMayComeAgain(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	list, err := home()
	if err != nil {
		t.Fatal(err)
	}
	for i, replyto := range []string{"203.0.113.9", "public", "192.168.1.7"} {
		if got := give(b, original(7, replyto), "192.168.1.7", 2); got != accepted {
			t.Errorf("request %d = %v, want accepted", i, got)
		}
		drain(t, b, machineOf(list), netip.MustParseAddr("192.168.1.7"))
	}
	if s := b.r.Stats(); s["guard"] != 2 || s["published"] != 1 {
		t.Errorf("outcomes %v, want two refused by the guard and one published", nonzero(s))
	}
}

func TestFailedSendIsCounted(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { return syscall.EAGAIN }
	if got := give(b, mustMarshal(t, question(1, 1)), "192.168.1.7", 2); got != sendFailed {
		t.Errorf("outcome = %v, want %v", got, sendFailed)
	}
}

func TestPendingIsHandedOnInTime(t *testing.T) {
	t.Parallel()
	b, _, _ := fuzzBed(t)
	now := time.Now()
	due := func(d time.Duration, id string) job {
		return job{key: uint64(len(id)), sealed: true, due: now.Add(d), request: vectorOriginal(id)}
	}
	if !b.r.until().IsZero() {
		t.Errorf("until() = %v with nothing to do, want zero", b.r.until())
	}
	b.r.pending = []job{due(time.Hour, "1"), due(-time.Second, "22"), due(time.Minute, "333"), due(-time.Minute, "4444")}
	b.r.handDue(now)
	if p := b.r.pending; len(p) != 2 || p[0].key != 1 || p[1].key != 3 || len(b.r.jobs) != 2 {
		t.Errorf("left %+v, %d handed on, want the first and the third left", p, len(b.r.jobs))
	}
	if got := b.r.until().Sub(now); got != time.Minute {
		t.Errorf("until() is in %v, want a minute", got)
	}
	if b.r.wake = now.Add(time.Second); !b.r.until().Equal(b.r.wake) {
		t.Errorf("until() = %v, want the next slot's %v", b.r.until(), b.r.wake)
	}
	for i := range uint64(maxPending + 1) {
		q := question(i+1, 1)
		give(b, mustMarshal(t, q), "192.168.1.50", 2)
	}
	if n := len(b.r.pending); n != maxPending || b.r.Stats()["busy"] == 0 {
		t.Errorf("%d requests pending, outcomes %v, want %d and the rest busy", n, nonzero(b.r.Stats()), maxPending)
	}
	for range 1000 {
		if d := publishDelay(false); d < 20*time.Millisecond || d >= 120*time.Millisecond {
			t.Fatalf("publishDelay(false) = %v", d)
		}
		if d := publishDelay(true); d < 300*time.Millisecond || d >= 800*time.Millisecond {
			t.Fatalf("publishDelay(true) = %v, want later than sweeps take", d)
		}
	}
}

func vectorOriginal(id string) reports.Request {
	return reports.Request{Cmd: "status", ReplyTo: "192.168.1.7", Topic: "/t", ID: reports.ID(id)}
}
