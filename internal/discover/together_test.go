package discover

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"

	"rollcall/internal/trust"
)

// TestOpenTogether: replies that came together are opened as each would be alone, whatever the others are; what one of them has shown
// counts for those behind it.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 6)
	var closed, signed [][]byte
	var ids []ID
	for _, raw := range c.replies(t, 5) {
		id := ID(raw[8:])
		key := c.keys[id]
		secret, _ := c.ring.Get(public(key))
		s, err := sealInto(nil, c.cards[id], must(seal(secret, 5)), public(key), key.ID(), key.Private())
		if err != nil {
			t.Fatal(err)
		}
		closed, signed, ids = append(closed, raw), append(signed, s), append(ids, id)
	}
	open := must(Reply{Host: ID{9}, Sweep: 5, Pages: 1, Body: ReplyBody{Hostname: "pi"}}.Marshal())
	known := map[ID]trust.Key{ids[0]: c.keys[ids[0]], ids[1]: c.keys[ids[1]], ids[2]: newKey(t, "another")}
	tests := []struct {
		raw  []byte
		want error
	}{
		{closed[0], nil}, // known
		{edit(closed[0], len(closed[0])-1, closed[0][len(closed[0])-1]^1), errSeal},
		{closed[1], nil}, // known, with a wrong secret
		{signed[2], errKeyChanged},
		{closed[2], errNotIntroduced},
		{closed[3], errNotIntroduced}, // unknown
		{signed[3], nil},              // it introduces itself
		{closed[3], nil},              // and is known from then on
		{open, nil},
		{edit(signed[4], len(signed[4])-1, signed[4][len(signed[4])-1]^1), errSignature},
		{closed[0], nil},
		{closed[1], nil},
	}
	var ring Keyring
	ring.Put(public(c.keys[ids[1]]), Secret{1})
	o := newOpener(SweepConfig{ID: 5, Key: c.op, Known: knows(known), Keyring: &ring})
	list := make([]packet, len(tests))
	for i, tt := range tests {
		list[i] = packet{from: netip.MustParseAddrPort("192.168.1.9:37030"), b: tt.raw}
		list[i].reply, list[i].err = ParseReply(tt.raw)
	}
	o.openAll(list, new(tray))
	for i, p := range list {
		if !errors.Is(p.err, tests[i].want) {
			t.Errorf("reply %d: %v, want %v", i, p.err, tests[i].want)
		}
		if p.err == nil && i != 8 && (len(p.reply.Body.Services) != 8 || !bytes.Equal(p.reply.HostKey, ed25519.PublicKey(p.reply.Box[:sealKeySize]))) {
			t.Errorf("reply %d has %d services and key %x", i, len(p.reply.Body.Services), p.reply.HostKey)
		}
	}
	if got, _ := ring.Get(public(c.keys[ids[1]])); got == (Secret{1}) {
		t.Error("the wrong secret was not mended")
	}
}
