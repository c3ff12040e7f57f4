package discover

import (
	"bytes"
	"crypto/ed25519"
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
					Known: knows(map[ID]trust.Key{id: old}), Wait: 500 * time.Millisecond})
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
			err = newOpener(c).open(raw, &r, from)
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
	for i := range good {
		if err := open(edit(good, i, good[i]^0x10), true); err == nil {
			t.Errorf("reply with byte %d changed is believed", i)
		}
	}
	for i := range goodSigned {
		if err := open(edit(goodSigned, i, goodSigned[i]^0x10), false); err == nil {
			t.Errorf("signed reply with byte %d changed is believed", i)
		}
	}
}
