package discover

import (
	"bytes"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/trust"
)

// measureBed is a closed host at home with a clock of its own, which counts what it sends.
type measureBed struct {
	*bed
	op      trust.Key
	now     time.Time
	replies int
	out     int // bytes
}

func newMeasureBed(t *testing.T) *measureBed {
	m := &measureBed{op: newKey(t, "op"), now: time.Now()}
	m.bed = closedBed(t, newKey(t, "host"), obeying(m.op), func(c *ResponderConfig) { c.Now = func() time.Time { return m.now } })
	m.r.ifaces = home
	m.r.refresh(m.now, 0)
	m.r.reply = func(raw, _ []byte, to netip.AddrPort) error {
		if to != netip.MustParseAddrPort("192.168.1.7:4242") {
			t.Errorf("%d bytes to %v", len(raw), to)
		}
		m.replies++
		m.out += len(raw)
		return nil
	}
	return m
}

// ask gives the host a signed request from 192.168.1.7.
func (m *measureBed) ask(seq uint32, change func(*Request)) outcome {
	m.t.Helper()
	q := question(5, seq)
	q.Time, q.Requester, q.PrefixLen = m.now, netip.MustParseAddr("192.168.1.7"), 24
	change(&q)
	m.r.authority.checks = map[int]bucket{}
	return give(m.bed, mustSign(m.t, q, m.op), "192.168.1.7", 2)
}

// TestRequestsOutOfMeasure: requests of an operator that are right but for what they ask.
func TestRequestsOutOfMeasure(t *testing.T) {
	t.Parallel()
	year := question4(5, 1)
	year.Window = 365 * 24 * time.Hour
	if _, err := year.Sign(newKey(t, "op")); err == nil {
		t.Error("a window of a year can be said")
	}
	m := newMeasureBed(t)
	for name, change := range map[string]func(*Request){
		"range hi < lo":              func(q *Request) { q.Lo, q.Hi = 2, 1 },
		"range hi < lo, far apart":   func(q *Request) { q.Lo, q.Hi = math.MaxUint64, 1 },
		"empty range":                func(q *Request) { q.Lo, q.Hi = 1<<63, 1<<63 },
		"filter of all ones":         func(q *Request) { q.Filter, q.FilterHashes = bytes.Repeat([]byte{255}, 1000), 255 },
		"filter of one byte of ones": func(q *Request) { q.Filter, q.FilterHashes = []byte{255}, 1 },
		"sample of nobody":           func(q *Request) { q.Sample = 1 },
		"page that is not":           func(q *Request) { q.Page = maxPages - 1 },
		"wanted is nobody":           func(q *Request) { q.Want = "service=none" },
	} {
		if o := m.ask(1, change); o != unselected || m.out != 0 {
			t.Errorf("%s: %v with %d bytes, want unselected with 0", name, o, m.out)
		}
	}
	// The longest window that can be said is cut, and the reply comes once.
	if o := m.ask(2, func(q *Request) { q.Window, q.Round = math.MaxUint32*time.Microsecond, 1 }); o != answered {
		t.Errorf("longest window: %v", o)
	}
	m.now = m.now.Add(census.MaxWindow)
	if m.r.due(m.now); m.replies != 1 || len(m.r.slots) != 0 {
		t.Errorf("%d replies and %d slots after the longest window, want 1 and none", m.replies, len(m.r.slots))
	}
}

// TestRoundsWithoutEnd asks in all rounds that can be said and on, to the last sequence number, and then begins again: never
// more goes out than came in, and nothing piles up.
func TestRoundsWithoutEnd(t *testing.T) {
	t.Parallel()
	m := newMeasureBed(t)
	in, answers := 0, 0
	for i := range uint32(3000) {
		m.now = m.now.Add(5 * time.Millisecond)
		seq := 1 + i*(math.MaxUint32/2900) // it wraps
		if seq == 0 {
			continue
		}
		o := m.ask(seq, func(q *Request) { q.Round, q.Copies, q.Window = uint16(i*23), 255, time.Millisecond })
		in += MinRequest
		m.r.due(m.now)
		if o == answered {
			answers++
		}
		if m.out > in || len(m.r.slots) > 1 {
			t.Fatalf("%d bytes out for %d in, %d slots, after %d rounds", m.out, in, len(m.r.slots), i)
		}
	}
	if answers == 0 || len(m.r.sweeps.cur)+len(m.r.sweeps.prev) > 2 {
		t.Errorf("%d answers, %d sweeps are remembered", answers, len(m.r.sweeps.cur)+len(m.r.sweeps.prev))
	}
}

// TestReplyAThousandTimes: a host whose every reply comes a thousand times, with as many that are no replies, is one host.
func TestReplyAThousandTimes(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	b.r.reply = func(raw, _ []byte, to netip.AddrPort) error {
		for i := range 1000 {
			for _, b2 := range [][]byte{raw, edit(raw, 40+i%20, raw[40+i%20]^0x40), edit(raw, len(raw)-1-i%100, 0x55)} {
				if err := b.r.replies.send(b2, nil, to); err != nil {
					return err
				}
			}
		}
		return b.r.replies.send(make([]byte, 60_000), nil, to)
	}
	b.start()
	ring := new(Keyring)
	id := closedHost(1, "pi").ID
	for range 2 {
		got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: op, Keyring: ring, Known: knows(map[ID]trust.Key{id: host}),
			Expect: []Known{{ID: id}}, Wait: 2 * time.Second})
		if len(got) != 1 || got[0].Host.ID != id || len(stats.Changed) != 0 || len(stats.Missing) != 0 {
			t.Errorf("%d hosts, %+v", len(got), stats)
		}
	}
	if n := ring.Changes(); n != 1 {
		t.Errorf("secrets were computed %d times, want once", n)
	}
}

// TestVictimIsNotAnswered: what is sent in the name of another gets no byte to him, nor to whoever sends it.
func TestVictimIsNotAnswered(t *testing.T) {
	t.Parallel()
	m := newMeasureBed(t)
	q := question(5, 1)
	q.Time, q.Requester, q.PrefixLen = m.now, netip.MustParseAddr("192.168.1.7"), 24
	raw := mustSign(t, q, m.op)
	list, err := home()
	if err != nil {
		t.Fatal(err)
	}
	other := iface{Index: 3, Name: "eth1", Flags: net.FlagUp | net.FlagBroadcast, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		Addrs: addrs("10.77.0.50"), Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.50/24")}}
	m.r.ifaces = func() ([]iface, error) { return append(list, other), nil }
	m.r.refresh(m.now, 0)
	for _, tt := range []struct {
		name, src string
		on        int
		want      outcome
	}{
		{"a neighbour", "192.168.1.8", 2, wrongSource},
		{"the host itself", "192.168.1.50", 2, wrongSource},
		{"the broadcast address", "192.168.1.255", 2, offLink},
		{"a group", "224.0.0.1", 2, offLink},
		{"everybody", "255.255.255.255", 2, offLink},
		{"nobody", "0.0.0.0", 2, offLink},
		{"somebody on the Internet", "203.0.113.9", 2, offLink},
		{"somebody in another subnet", "10.77.0.8", 3, wrongSource},
		{"the operator, in another subnet", "192.168.1.7", 3, offLink},
		{"the operator, by the loopback", "192.168.1.7", 1, offLink},
		{"an address of IPv6", "fd00::7", 2, offLink},
	} {
		if o := give(m.bed, bytes.Clone(raw), tt.src, tt.on); o != tt.want || m.out != 0 {
			t.Errorf("from %s: %v with %d bytes out, want %v with 0", tt.name, o, m.out, tt.want)
		}
	}
	if o := give(m.bed, raw, "192.168.1.7", 2); o != answered || m.replies != 1 {
		t.Errorf("from the operator: %v with %d replies", o, m.replies)
	}
}
