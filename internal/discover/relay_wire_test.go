package discover

import (
	"bytes"
	"crypto/cipher"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rollcall/internal/trust"
)

func vectorTicket() ticket {
	return ticket{relayHead: relayHead{Kind: kindTicket, Signed: true, Sweep: 0x0001020304050607, Time: time.UnixMilli(1_780_000_000_123).UTC(), Seq: 0x21222324},
		Requester: netip.MustParseAddr("192.168.1.7"), Relay: netip.MustParseAddr("10.9.1.4"), Network: netip.MustParsePrefix("10.9.0.0/16")}
}

func TestDocumentedRelay(t *testing.T) {
	t.Parallel()
	vector, fields, end := documented(t, "relay")
	if end != ticketFields {
		t.Errorf("documented fields end at %d, want %d", end, ticketFields)
	}
	want := map[string]string{`magic "RCL1"`: "52434c31", "version": "01", "type": "04", "kind": "01", "flags": "01",
		"sweep id": "0001020304050607", "operator key id": "a0a1a2a3a4a5a6a7", "time": "0000019e7044887b", "number": "21222324",
		"length of the body": "0000", "zero": "0000", "requester's address": "00000000000000000000ffffc0a80107",
		"relay's address": "00000000000000000000ffff0a090104", "network that is asked for": "00000000000000000000ffff0a090000",
		"length of its prefix": "10", "zeros": "00000000000000"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("fields of the vector (-want +got):\n%s", d)
	}
	key := newKey(t, "x")
	got, err := vectorTicket().sign(key)
	if err != nil {
		t.Fatal(err)
	}
	copy(got[16:], []byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7})
	if !bytes.Equal(got[:ticketFields], vector) {
		t.Errorf("sign() = %x\nwant %x", got[:ticketFields], vector)
	}
	parsed, err := parseTicket(got)
	again := vectorTicket()
	again.Operator = [8]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7}
	if d := cmp.Diff(again, parsed, byValue, cmp.AllowUnexported(ticket{}), cmpopts.EquateComparable(netip.Prefix{})); err != nil || d != "" {
		t.Errorf("parseTicket() error = %v, (-want +got):\n%s", err, d)
	}
}

func TestTicketRefuses(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(*ticket){
		"no requester":          func(t *ticket) { t.Requester = netip.Addr{} },
		"requester by IPv6":     func(t *ticket) { t.Requester = netip.MustParseAddr("2001:db8::1") },
		"requester that is all": func(t *ticket) { t.Requester = netip.MustParseAddr("255.255.255.255") },
		"relay of a group":      func(t *ticket) { t.Relay = netip.MustParseAddr("224.0.0.1") },
		"network with a host":   func(t *ticket) { t.Network = netip.MustParsePrefix("10.9.1.0/16") },
		"network of IPv6":       func(t *ticket) { t.Network = netip.MustParsePrefix("2001:db8::/64") },
		"no network":            func(t *ticket) { t.Network = netip.Prefix{} },
	} {
		k := vectorTicket()
		spoil(&k)
		if _, err := k.sign(newKey(t, "x")); err == nil {
			t.Errorf("ticket with %s was signed", what)
		}
	}
}

func TestOffer(t *testing.T) {
	t.Parallel()
	op, host := newKey(t, "op"), newKey(t, "host")
	o := offer{relayHead: relayHead{Sweep: 7, Seq: 3, Operator: op.ID(), Time: time.UnixMilli(5).UTC()}, Host: ID{1, 2}, Name: "pizero2", Nonce: [16]byte{9, 8}, Early: true}
	for i := range maxLinks {
		o.Links = append(o.Links, relayLink{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i), 4}), 24), MAC: [6]byte{2, 0, 0, 0, 0, byte(i)}})
	}
	box := sealBox(t, host, op, 7)
	for _, signed := range []bool{false, true} {
		private := host.Private()
		if !signed {
			private = nil
		}
		b, err := o.marshal(box, public(host), private)
		if err != nil || len(b) > ticketSize {
			t.Fatalf("marshal() = %d bytes, %v, want at most those of the ticket", len(b), err)
		}
		h, err := parseRelayHead(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := openOffer(h, b, sealBox(t, op, host, 7))
		want := o
		want.Kind, want.Signed, want.Body, want.Key = kindOffer, signed, h.Body, public(host)
		if d := cmp.Diff(want, got, byValue, cmp.AllowUnexported(offer{}, relayLink{}), cmpopts.EquateComparable(netip.Prefix{})); err != nil || d != "" {
			t.Errorf("openOffer() error = %v, (-want +got):\n%s", err, d)
		}
		if _, err := openOffer(h, b, sealBox(t, newKey(t, "other"), host, 7)); err == nil {
			t.Error("an offer opens with another's key")
		}
		for i := range len(b) {
			c := bytes.Clone(b)
			c[i] ^= 1 << (i % 8)
			h, err := parseRelayHead(c)
			if err != nil || i >= relayHeader+h.Body || i >= relayHeader && i < relayHeader+sealKeySize {
				continue // it is not parsed, or it is of the signature or the key, which choose what checks them
			}
			if _, err := openOffer(h, c, sealBox(t, op, host, 7)); err == nil {
				t.Errorf("offer with a bit of byte %d changed opens", i)
			}
		}
	}
}

// nonceBox seals with a key that nobody has.
func nonceBox(t testing.TB) cipher.AEAD {
	t.Helper()
	box, _, err := relayKeys(Secret{1}, 1, [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// sealBox returns what seals and opens between two keys; either may be the operator's.
func sealBox(t *testing.T, own, other trust.Key, sweep uint64) cipher.AEAD {
	t.Helper()
	secret, err := share(own, public(other), []byte("operator"), []byte("host"))
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal(secret, sweep)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestBatch(t *testing.T) {
	t.Parallel()
	want := []entry{{0, netip.MustParseAddr("10.9.1.4"), []byte("one")}, {3, netip.MustParseAddr("10.9.1.5"), []byte{}}, {1, netip.MustParseAddr("10.9.1.6"), bytes.Repeat([]byte("x"), maxReply)}}
	var b []byte
	for _, e := range want {
		b = e.append(b)
	}
	got, err := parseBatch(b)
	if d := cmp.Diff(want, got, byValue, cmp.AllowUnexported(entry{})); err != nil || d != "" {
		t.Errorf("parseBatch() error = %v, (-want +got):\n%s", err, d)
	}
	for n := range len(b) {
		if _, err := parseBatch(b[:n]); err == nil && n != 0 && n != entryHead+3 && n != 2*entryHead+3 {
			t.Errorf("batch cut off after %d bytes is read", n)
		}
	}
	o := order{link: 2, to: netip.MustParseAddr("10.9.1.4"), request: []byte("x")}
	if got, err := parseOrder(o.append(nil)); err != nil || got.link != 2 || got.to != o.to || string(got.request) != "x" {
		t.Errorf("parseOrder() = %+v, %v, want %+v", got, err, o)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	var s seen
	for _, c := range []struct {
		n    uint32
		want bool
	}{{1, true}, {1, false}, {3, true}, {2, true}, {2, false}, {66, true}, {3, false}, {2, false}, {4, true}, {200, true}, {66, false}, {136, false}, {137, true}, {137, false}, {1<<32 - 1, true}, {200, false}} {
		if got := s.add(c.n); got != c.want {
			t.Errorf("add(%d) = %v, want %v", c.n, got, c.want)
		}
	}
}

// Whatever comes is refused or read to what encodes to the same bytes.
func FuzzRelay(f *testing.F) {
	key, err := trust.NewKey("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	b, err := vectorTicket().sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(sealRelay(nil, relayHead{Kind: kindOrder, Sweep: 7, Seq: 1}, order{request: []byte("x")}.append(nil), nonceBox(f)))
	f.Add(sealRelay(nil, relayHead{Kind: kindOrder, Early: true, Sweep: 7, Seq: 1}, order{link: earlyLink, request: []byte("x")}.append(nil), nonceBox(f)))
	f.Add(entry{from: netip.MustParseAddr("10.9.1.4"), reply: []byte("one")}.append(nil))
	f.Add(order{request: []byte("x")}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseTicket(b); err == nil {
			again, err := k.sign(key)
			if err != nil || !bytes.Equal(again[:16], b[:16]) || !bytes.Equal(again[24:ticketFields], b[24:ticketFields]) {
				t.Errorf("ticket %x is read as %+v, which is %x, %v", b, k, again, err)
			}
		}
		if h, err := parseRelayHead(b); err == nil {
			if again := h.append(nil); !bytes.Equal(again, b[:relayHeader]) {
				t.Errorf("head %x is read as %+v, which is %x", b[:relayHeader], h, again)
			}
			_, _ = offerKey(h, b)
			_, _ = openOffer(h, b, nonceBox(t))
			_, _ = openRelay(b, nonceBox(t))
		}
		if list, err := parseBatch(b); err == nil {
			var again []byte
			for _, e := range list {
				again = e.append(again)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("batch %x is read as %x", b, again)
			}
		}
		if o, err := parseOrder(b); err == nil && !bytes.Equal(o.append(nil), b) {
			t.Errorf("order %x is read as %+v", b, o)
		}
	})
}
