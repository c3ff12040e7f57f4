package discover

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// TestKeyChanged: a host that has another key than it had is not believed, and told of.
func TestKeyChanged(t *testing.T) {
	t.Parallel()
	host, op, old := newKey(t, "host"), newKey(t, "op"), newKey(t, "old")
	id := closedHost(1, "pi").ID
	closed := closedBed(t, host, obeying(op), nil)
	closed.start()
	open := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	for name, tt := range map[string]struct {
		at  *bed
		now ed25519.PublicKey
	}{"another key": {closed, public(host)}, "no key": {open, nil}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, expect := range [][]Known{nil, {{ID: id}}} {
				got, stats := gather(t, SweepConfig{To: []string{tt.at.addr.String()}, Sealed: true, Key: op, Expect: expect,
					Known: knows(map[ID]trust.Key{id: old}), Wait: 5 * time.Second})
				if len(got) != 0 || len(stats.Changed) != 1 {
					t.Fatalf("%d hosts, changes %+v", len(got), stats.Changed)
				}
				c := stats.Changed[0]
				if c.Host != id || c.Hostname != "pi" || !c.Was.Equal(public(old)) || !bytes.Equal(c.Now, tt.now) {
					t.Errorf("change is %+v", c)
				}
			}
		})
	}
}

// TestRepliesAttacked holds replies that a laptop must not believe.
func TestRepliesAttacked(t *testing.T) {
	t.Parallel()
	host, op, evil, otherOp := newKey(t, "host"), newKey(t, "op"), newKey(t, "evil"), newKey(t, "other")
	var out []byte
	from := netip.MustParseAddr("192.168.1.50")
	ask := func(k trust.Key, sweep uint64, by trust.Key, introduce bool) []byte {
		b := closedBed(t, k, obeying(op, otherOp), nil)
		b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = bytes.Clone(raw); return nil }
		q := question4(sweep, 1)
		q.Introduce = introduce
		if o, err := b.r.handle(&datagram{b: mustSign(t, q, by), src: netip.MustParseAddrPort("127.0.0.1:9"), at: time.Now(), iface: 1}); o != answered {
			t.Fatal(o, err)
		}
		return out
	}
	open := func(raw []byte, known bool) error {
		c := SweepConfig{ID: 5, Key: op}
		if known {
			c.Known = knows(map[ID]trust.Key{closedHost(1, "").ID: host})
		}
		r, err := ParseReply(raw)
		if err == nil {
			err = newOpener(c).open(raw, &r, from, newTray(1))
		}
		return err
	}
	good, goodSigned := ask(host, 5, op, false), ask(host, 5, op, true)
	if err := open(good, true); err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		if err := open(goodSigned, known); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		raw   []byte
		known bool
		want  string
	}{
		"another sweep":          {ask(host, 6, op, true), true, "another sweep"},
		"another operator's":     {ask(host, 5, otherOp, true), true, "not sealed for this operator"},
		"another host's id":      {ask(evil, 5, op, true), true, "key has changed"},
		"not introduced":         {ask(evil, 5, op, false), false, "not signed"},
		"another host unsigned":  {ask(evil, 5, op, false), true, "not signed"},
		"too long":               {append(bytes.Clone(goodSigned), make([]byte, 65507-len(goodSigned))...), true, "too long"},
		"sweep of another reply": {edit(ask(host, 6, op, true), offSweep, good[offSweep:offSweep+8]...), true, "not sealed for this operator"},
	} {
		if err := open(tt.raw, tt.known); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	for i := range len(good) * 8 {
		if err := open(edit(good, i/8, good[i/8]^1<<(i%8)), true); err == nil {
			t.Errorf("reply with bit %d of byte %d changed is believed", i%8, i/8)
		}
	}
	for i := range len(goodSigned) * 8 {
		if err := open(edit(goodSigned, i/8, goodSigned[i/8]^1<<(i%8)), false); err == nil {
			t.Errorf("signed reply with bit %d of byte %d changed is believed", i%8, i/8)
		}
	}
}

// TestWrongSecretIsMended: a secret that was kept and went bad costs one computation, not the host.
func TestWrongSecretIsMended(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	raw := c.replies(t, 5)[0]
	id := ID(raw[8:16])
	host := public(c.keys[id])
	right, _ := c.ring.Get(host)
	open := func(ring *Keyring, raw []byte) error {
		r, err := ParseReply(raw)
		if err == nil {
			err = newOpener(SweepConfig{ID: 5, Key: c.op, Known: knows(c.keys), Keyring: ring}).open(raw, &r, netip.Addr{}, newTray(1))
		}
		return err
	}
	var ring Keyring
	ring.Put(host, Secret{1})
	if err := open(&ring, raw); err != nil {
		t.Fatal(err)
	}
	if got, _ := ring.Get(host); got != right || ring.Changes() != 1 {
		t.Errorf("secret is not the right one after %d changes", ring.Changes())
	}
	// A forger who names a known host's key has it computed once, not each time.
	ring = Keyring{}
	ring.Put(host, right)
	forged := edit(raw, len(raw)-1, raw[len(raw)-1]^1)
	for range 3 {
		if err := open(&ring, forged); err == nil {
			t.Error("a forged reply is believed")
		}
	}
	if ring.Changes() != 1 {
		t.Errorf("the secret was computed %d times, want once", ring.Changes())
	}
}

// TestStrangersAreNotKept: keys that nobody has shown to have take no room, and are bounded.
func TestStrangersAreNotKept(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	raw := c.replies(t, 5)[0]
	var ring Keyring
	o := newOpener(SweepConfig{ID: 5, Key: c.op, Keyring: &ring})
	forge := func() error {
		b := edit(raw, replyHeader, public(newKey(t, "evil"))...)
		r, err := ParseReply(b)
		if err == nil {
			err = o.open(b, &r, netip.MustParseAddr("192.168.1.9"), newTray(1))
		}
		return err
	}
	for range maxStrangeKeys {
		if err := forge(); !errors.Is(err, errSeal) {
			t.Fatalf("reply sealed by nobody: %v", err)
		}
	}
	if err := forge(); err == nil || !strings.Contains(err.Error(), "more than 256 hosts") {
		t.Errorf("after %d strangers: %v", maxStrangeKeys, err)
	}
	if ring.Changes() != 0 {
		t.Errorf("%d secrets of nobody are kept", ring.Changes())
	}
}
