package discover

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// text writes a sighting as words, for tests.
func (s Sighting) text() string {
	var b strings.Builder
	b.WriteString(s.Form)
	for _, d := range s.Details {
		if list, ok := d.Value.([][]Detail); ok {
			for _, inner := range list {
				fmt.Fprintf(&b, " {%s}", Sighting{Form: d.Name, Details: inner}.text())
			}
			continue
		}
		fmt.Fprintf(&b, " %s=%v", d.Name, d.Value)
	}
	return b.String()
}

// spiedOn returns, by name, a datagram of each kind between an operator and a host, and one of each between others.
func spiedOn(t testing.TB, op, host trust.Key) map[string][]byte {
	t.Helper()
	q := question4(4242, 7)
	q.MAC, q.Want = [6]byte{2, 0, 0, 0, 0, 7}, "pizero*"
	secret, err := share(op, public(host), public(op), public(host))
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal(secret, 4242)
	if err != nil {
		t.Fatal(err)
	}
	plain := Reply{Host: ID{0xa0, 1, 2, 3, 4, 5, 6, 7}, Sweep: 4242, Pages: 1, Seq: 7, First: 1, Tx: 2,
		Body: ReplyBody{Hostname: "pizero2", Services: []Service{{Name: "gpio", Function: "gpio"}}}}
	page, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealInto(nil, page, box, public(host), host.ID(), host.Private())
	if err != nil {
		t.Fatal(err)
	}
	paper, err := vectorTicket().sign(op)
	if err != nil {
		t.Fatal(err)
	}
	o := offer{relayHead: relayHead{Sweep: 4242, Seq: 1, Operator: op.ID(), Time: time.UnixMilli(5)}, Host: plain.Host, Name: "pizero2", Nonce: [16]byte{1},
		Links: []relayLink{{Prefix: netip.MustParsePrefix("10.9.1.4/24")}}}
	made, err := o.marshal(box, public(host), host.Private())
	if err != nil {
		t.Fatal(err)
	}
	orders, batches, err := relayKeys(secret, 4242, o.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	begin, _, err := relayKeys(secret, 4243, [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	early := sealRelay(nil, relayHead{Kind: kindOrder, Early: true, Sweep: 4243, Seq: 1, Operator: op.ID(), Time: time.UnixMilli(5)},
		order{link: earlyLink, request: mustSign(t, q, op)}.append(nil), begin)
	head := relayHead{Kind: kindOrder, Sweep: 4242, Seq: 1, Operator: op.ID(), Time: time.UnixMilli(5)}
	order := sealRelay(nil, head, order{to: netip.MustParseAddr("10.9.1.5"), request: mustSign(t, q, op)}.append(nil), orders)
	head.Kind = kindBatch
	batch := sealRelay(nil, head, entry{from: netip.MustParseAddr("10.9.1.5"), reply: sealed}.append(nil), batches)
	hello := Hello{Host: plain.Host, Seq: 5, Time: time.UnixMilli(5)}
	return map[string][]byte{"request": withTail(mustSign(t, q, op)), "addressed": mustSign(t, question4(4242, 8), op, Secret{1}),
		"unsigned": mustMarshal(t, question(4243, 1)), "open": page, "reply": sealed,
		"hello": hello.marshal(host), "ticket": paper, "offer": made, "order": order, "early": early, "batch": batch,
		"original": []byte(`{"cmd":"status","replyto":"pibot01","topic":"/stat/data","id":1241}`), "what": []byte("\x01\x02 else"), "cut": page[:40]}
}

func TestSpy(t *testing.T) {
	t.Parallel()
	op, host := newKey(t, "op"), newKey(t, "host")
	all := spiedOn(t, op, host)
	relay := netip.MustParseAddrPort("10.9.1.4:37030")
	ours, nobody := NewSpy(op), NewSpy(nil)
	id, other := op.ID(), NewSpy(newKey(t, "other"))
	for _, c := range []struct {
		name, want string
		sealed     string // what others see instead
	}{
		{"request", fmt.Sprintf("request sweep=4242 round=7 seq=7 operator=%x own=true signature=good requester=127.0.0.1 mac=02:00:00:00:00:07 tail=true copies=1 want=pizero*", id),
			fmt.Sprintf("request sweep=4242 round=7 seq=7 operator=%x signature=not checked requester", id)},
		{"addressed", "own=true signature=good host_tags=1 requester=127.0.0.1", "signature=not checked host_tags=1"},
		{"unsigned", "request sweep=4243 round=1 seq=1 signature=none copies=1", ""},
		{"open", "reply host=a001020304050607 sweep=4242 round=0 seq=7 first=1 tx=2 delay_us=0 hostname=pizero2 addresses=[] brokers=[] services=[gpio]", ""},
		{"reply", fmt.Sprintf("reply host=a001020304050607 sweep=4242 round=0 seq=7 first=1 tx=2 delay_us=0 host_key=%x signature=good sealed=opened hostname=pizero2", host.ID()),
			fmt.Sprintf("host_key=%x signature=good sealed=for another key", host.ID())},
		{"hello", "hello host=a001020304050607 seq=5 age_s=0 edition=0 signature=good", ""},
		{"ticket", "own=true requester=192.168.1.7 relay=10.9.1.4 network=10.9.0.0/16 signature=good", "network=10.9.0.0/16 signature=not checked"},
		{"offer", "own=true signature=good sealed=opened host=a001020304050607 hostname=pizero2 links=[10.9.1.4/24]", "signature=good sealed=for another key"},
		{"order", "sealed=opened link=0 to=10.9.1.5 {request sweep=4242", "sealed=for others, or its offer was not seen"},
		{"early", "order sweep=4243 number=1 operator=", "early=true sealed=for others, or its offer was not seen"},
		{"early", "early=true sealed=opened {request sweep=4242", "early=true sealed=for others, or its offer was not seen"},
		{"batch", "sealed=opened {replies from=10.9.1.5 host=a001020304050607", "sealed=for others, or its offer was not seen"},
		{"original", "original cmd=status replyto=pibot01 topic=/stat/data id=1241", ""},
		{"what", "unknown begins=010220656c7365", ""},
		{"cut", "reply error=reply has 40 bytes", ""},
	} {
		f := Frame{Data: all[c.name], From: relay, To: relay}
		if got := ours.Read(f).text(); !strings.Contains(got, c.want) {
			t.Errorf("%s = %s, want %s", c.name, got, c.want)
		}
		for _, s := range []*Spy{nobody, other} {
			want := c.want
			if c.sealed != "" {
				want = c.sealed
			}
			got := s.Read(f).text()
			if !strings.Contains(got, want) || c.sealed != "" && strings.Contains(got, "pizero2") {
				t.Errorf("%s, to others = %s, want %s", c.name, got, want)
			}
		}
	}
	// What was changed on its way is said to be.
	for _, name := range []string{"request", "hello", "ticket"} {
		b := append([]byte(nil), all[name]...)
		b[len(b)-2] ^= 1
		if got := ours.Read(Frame{Data: b}).text(); !strings.Contains(got, "signature=BAD") {
			t.Errorf("%s with a bit changed = %s, want a bad signature", name, got)
		}
	}
}

// Whatever passes is read without harm.
func FuzzSpy(f *testing.F) {
	op, host := newKey(f, "op"), newKey(f, "host")
	for _, b := range spiedOn(f, op, host) {
		f.Add(b)
	}
	f.Add([]byte("\x45\x00\x00\x20\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x90\xa6\x90\xa6\x00\x0c\x00\x00abcd"))
	s := NewSpy(op)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := s.Read(Frame{Data: b}); got.Form == "" {
			t.Errorf("Read(%x) has no form", b)
		}
		if p, ok := parseFrame(b); ok && (len(p.Data) > len(b)-28 || !p.From.Addr().IsValid()) {
			t.Errorf("parseFrame(%x) = %+v", b, p)
		}
	})
}
