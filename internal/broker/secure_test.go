package broker

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/trust"
)

func newKey(t testing.TB, comment string) trust.Key {
	t.Helper()
	k, err := trust.NewKey(comment)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// secureBed is a broker with a listener for TLS, whose clients are named by their keys.
func secureBed(t *testing.T, c Config, host trust.Key, names func(trust.ID) string) (*Broker, string, string) {
	t.Helper()
	b, plain, stop := startWith(t, c, func(b *Broker) { b.patience.connect = time.Second })
	t.Cleanup(stop)
	conf, err := host.ServerTLS(func(trust.PublicKey) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	addr, err := b.OpenSecure(Secure{Listen: "127.0.0.1:0", TLS: conf, Identify: func(s tls.ConnectionState) string {
		key, err := trust.PeerKey(s)
		if err != nil {
			return ""
		}
		return names(key.ID())
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b, plain, addr.String()
}

// dialTLS connects as the operator.
func dialTLS(t testing.TB, addr string, op, host trust.Key) *raw {
	t.Helper()
	conf, err := op.ClientTLS(host.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &raw{t: t, conn: c, r: bufio.NewReader(c)}
}

func TestSecure(t *testing.T) {
	t.Parallel()
	host, alice, guest, nobody := newKey(t, "host"), newKey(t, "alice"), newKey(t, "guest"), newKey(t, "nobody")
	var gone atomic.Bool
	names := map[trust.ID]string{alice.ID(): "alice", guest.ID(): "guest"}
	config := Config{
		Allow: func(who Peer, topic string, write bool) bool {
			switch who.Identity {
			case "alice", "":
				return true
			}
			return !write && !gone.Load()
		},
		Command: func(topic string) bool { return strings.Contains(topic, "/set/") },
		Refuse: func(who Peer, topic string, payload []byte) []Message {
			return []Message{{"/pi/result", []byte(who.Identity + " may not " + topic + " " + string(payload))}}
		},
	}
	b, plain, addr := secureBed(t, config, host, func(id trust.ID) string { return names[id] })
	own := dial(t, plain)
	own.connect("own")
	own.subscribe("#", 1)

	a := dialTLS(t, addr, alice, host)
	a.connect("a")
	a.subscribe("/pi/#", 1)
	a.publish("/pi/set/x", "1", 1, false)
	for _, c := range []*raw{own, a} {
		if got := c.received(); got != "/pi/set/x=1" {
			t.Errorf("got %s", got)
		}
	}
	// Large messages go through TLS whole, though a write of them takes long.
	big := strings.Repeat("x", 100<<10)
	for range 20 {
		own.publish("/pi/big", big, 1, false)
		own.received()
		if got := a.received(); got != "/pi/big="+big {
			t.Fatalf("got %d bytes", len(got))
		}
	}
	// A guest's command is refused with an answer; the connection stays.
	g := dialTLS(t, addr, guest, host)
	g.connect("g")
	g.subscribe("/pi/result", 1)
	g.publish("/pi/set/x", "2", 1, false)
	const refusal = "/pi/result=guest may not /pi/set/x 2"
	for _, c := range []*raw{g, own, a} {
		if got := c.received(); got != refusal {
			t.Errorf("got %s, want %s", got, refusal)
		}
	}
	g.ping()
	// Nobody takes over another's client ID.
	if code := dialTLS(t, addr, guest, host).refused(connectFrame{id: "a", version: 4}); code != 2 {
		t.Errorf("CONNECT with the ID of another operator: %d", code)
	}
	if code := dialTLS(t, addr, guest, host).refused(connectFrame{id: "own", version: 4}); code != 2 {
		t.Errorf("CONNECT with the ID of the house's client: %d", code)
	}
	// Who is nobody gets no further than the handshake.
	dialTLS(t, addr, nobody, host).expectClosed()
	// Who is removed is out.
	gone.Store(true)
	b.Disconnect(func(id string) bool { return id == "guest" })
	g.expectClosed()
	a.ping()
	b.CloseSecure()
	a.expectClosed()
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the closed listener takes connections")
	}
	own.ping()
}

// Other topics that are not allowed close the connection, as without TLS.
func TestSecureRefusesOthers(t *testing.T) {
	t.Parallel()
	host, guest := newKey(t, "host"), newKey(t, "guest")
	_, _, addr := secureBed(t, Config{Allow: func(Peer, string, bool) bool { return false },
		Refuse: func(Peer, string, []byte) []Message { t.Error("refused with a message"); return nil }}, host, func(trust.ID) string { return "guest" })
	g := dialTLS(t, addr, guest, host)
	g.connect("g")
	g.send(publishFrame("/pi/status", "x", 1, false, 7))
	g.expectClosed()
}

// A peer that says nothing does not stay, and a slow one does not hold the broker up.
func TestSecureIsPatientOnce(t *testing.T) {
	t.Parallel()
	host := newKey(t, "host")
	_, plain, addr := secureBed(t, Config{Allow: allowAll}, host, func(trust.ID) string { return "x" })
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dial(t, plain).connect("c")
	if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("silent peer: %d bytes, %v, want the end", n, err)
	}
}
