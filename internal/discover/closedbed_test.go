package discover

import (
	"crypto/ed25519"
	"net"
	"net/netip"
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

// obeying returns the Operators of these keys.
func obeying(keys ...trust.Key) Operators {
	all := map[[8]byte]ed25519.PublicKey{}
	for _, k := range keys {
		all[k.ID()] = public(k)
	}
	return func(id [8]byte) (ed25519.PublicKey, bool) { k, ok := all[id]; return k, ok }
}

// closedHost is a host that answers its operators.
func closedHost(n byte, name string, services ...Service) Host {
	h := testHost(n, name, services...)
	h.Open = false
	return h
}

// closedBed is a responder with the key host that obeys operators, and that started long ago.
func closedBed(t testing.TB, host trust.Key, operators Operators, change func(*ResponderConfig)) *bed {
	t.Helper()
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) {
		c.Open, c.Legacy, c.Key, c.Operators = false, false, host, operators
		if change != nil {
			change(c)
		}
	})
	b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
	b.r.Update(closedHost(1, "pi"))
	return b
}

// question4 is a request from loopback that any closed host answers its operator.
func question4(sweep uint64, seq uint32) Request {
	q := question(sweep, seq)
	q.Requester, q.PrefixLen = netip.MustParseAddr("127.0.0.1"), 8
	return q
}

func mustSign(t testing.TB, q Request, k trust.Key, hosts ...Secret) []byte {
	t.Helper()
	b, err := q.Sign(k, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// knows is what a laptop knows that has seen these hosts before.
func knows(keys map[ID]trust.Key) func(ID) (ed25519.PublicKey, bool) {
	return func(id ID) (ed25519.PublicKey, bool) {
		k, ok := keys[id]
		if !ok {
			return nil, false
		}
		return public(k), true
	}
}

// silent sends datagrams that each must come to the end want, without a byte back.
func (b *bed) silent(conn *net.UDPConn, o outcome, datagrams ...[]byte) {
	b.t.Helper()
	before := b.r.Stats()[o.String()]
	for _, d := range datagrams {
		send(b.t, conn, d)
	}
	b.await(o, before+uint64(len(datagrams)))
	if back := receive(b.t, conn, 10*time.Millisecond); back != nil {
		b.t.Errorf("%v: %d bytes came back", o, len(back))
	}
}
