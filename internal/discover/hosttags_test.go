package discover

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/trust"
)

// addressBed is a bed of a host that has answered its operator before, and what the two share. It counts the replies.
func addressBed(t *testing.T, host, op trust.Key) (b *bed, shared Secret, handle func([]byte) outcome, sent *int) {
	t.Helper()
	b = closedBed(t, host, obeying(op), nil)
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	sent = new(int)
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { *sent++; return nil }
	handle = func(raw []byte) outcome {
		b.r.authority.checks = map[int]bucket{}
		d := datagram{b: bytes.Clone(raw), src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
		o, _ := b.r.handle(&d)
		return o
	}
	shared, err := share(op, public(host), public(op), public(host))
	if err != nil {
		t.Fatal(err)
	}
	return b, shared, handle, sent
}

// falsified is a request with tags for these hosts of which the signature is nobody's.
func falsified(t *testing.T, q Request, op trust.Key, hosts ...Secret) []byte {
	t.Helper()
	raw := mustSign(t, q, op, hosts...)
	raw[len(raw)-hostTagsSize(len(hosts))-1] ^= 1
	addHostTags(raw, hosts)
	return raw
}

// A host that finds its tag in a request looks at no signature; one that does not, and one that has not met the operator yet, does.
func TestHostTagStandsForTheSignature(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b, shared, handle, sent := addressBed(t, host, op)
	other := Secret{1}
	if o := handle(falsified(t, question4(5, 1), op, shared)); o != forged {
		t.Errorf("a tag of a host that has not met the operator is %v, want %v", o, forged)
	}
	if o := handle(mustSign(t, question4(5, 2), op, other, shared)); o != answered {
		t.Fatalf("signed request to a host that has not met the operator is %v", o)
	}
	for seq := uint32(3); seq < 6; seq++ {
		if o := handle(falsified(t, question4(uint64(seq), seq), op, other, shared, other)); o != answered {
			t.Errorf("request with the host's tag is %v", o)
		}
		if o := handle(falsified(t, question4(uint64(seq), seq+100), op, other, other)); o != forged {
			t.Errorf("request with the tags of others is %v, want %v", o, forged)
		}
		if o := handle(mustSign(t, question4(uint64(seq), seq+200), op, other)); o != answered && o != duplicate {
			t.Errorf("signed request with the tag of another is %v", o)
		}
	}
	if *sent < 4 {
		t.Errorf("%d replies, want 4 at least", *sent)
	}
	// It proves who asks, and no more: not that it is asked for the first time, from there, in time, by one who still may.
	good := falsified(t, question4(9, 1), op, shared)
	before := *sent
	if o := handle(good); o != answered {
		t.Fatalf("good request is %v", o)
	}
	late, elsewhere := question4(9, 2), question4(9, 3)
	late.Time, elsewhere.Requester = late.Time.Add(-31*time.Second), netip.MustParseAddr("127.0.0.9")
	for name, tt := range map[string]struct {
		raw  []byte
		want outcome
	}{
		"again":                {good, replayed},
		"31 s old":             {falsified(t, late, op, shared), clock},
		"of another requester": {falsified(t, elsewhere, op, shared), wrongSource},
	} {
		if o := handle(tt.raw); o != tt.want {
			t.Errorf("request %s is %v, want %v", name, o, tt.want)
		}
	}
	b.r.Reload(nil, false, false, obeying(), nil)
	if o := handle(falsified(t, question4(10, 1), op, shared)); o != noOperator {
		t.Errorf("request of a removed operator is %v, want %v", o, noOperator)
	}
	if *sent != before+1 {
		t.Errorf("%d replies, want 1", *sent-before)
	}
}

// TestHostTagBitFlips changes every bit of a request with host tags: nothing comes back, neither from a host that has met the operator nor from
// one that has not.
func TestHostTagBitFlips(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	for name, met := range map[string]bool{"met": true, "not met": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, shared, handle, sent := addressBed(t, host, op)
			if met {
				b.r.authority.find(obeying(op), op.ID()).secret = &shared
			}
			good := mustSign(t, question4(5, 1), op, Secret{1}, shared, Secret{2})
			for i := range len(good) * 8 {
				bad := bytes.Clone(good)
				bad[i/8] ^= 1 << (i % 8)
				if o := handle(bad); *sent != 0 || o == answered {
					t.Fatalf("request with bit %d of byte %d changed is %v", i%8, i/8, o)
				}
			}
			if o := handle(good); o != answered || *sent != 1 {
				t.Errorf("good request is %v after all those", o)
			}
		})
	}
}

// Requests with as many tags as there may be have their length, and any number else is refused.
func TestHostTagNumbers(t *testing.T) {
	t.Parallel()
	op := newKey(t, "op")
	for _, n := range []int{1, 2, 100, maxHostTags} {
		raw := mustSign(t, question4(5, 1), op, make([]Secret, n)...)
		q, err := ParseRequest(raw)
		if err != nil || q.HostTags != n || len(raw) < MinRequest || len(raw) > MaxRequest || len(raw)%2 != 0 {
			t.Errorf("request with %d tags has %d bytes and %d tags: %v", n, len(raw), q.HostTags, err)
		}
		if _, err := ParseSigned(raw, public(op)); err != nil {
			t.Errorf("ParseSigned() of a request with %d tags: %v", n, err)
		}
		for _, other := range []int{0, n - 1, n + 1, maxHostTags + 1, 1<<16 - 1} {
			bad := bytes.Clone(raw)
			at := len(bad) - hostTagEnd
			bad[at], bad[at+1] = byte(other>>8), byte(other)
			if _, err := ParseRequest(bad); err == nil {
				t.Errorf("request with %d tags that says it has %d is taken", n, other)
			}
		}
	}
	if _, err := question4(5, 1).Sign(op, make([]Secret, maxHostTags+1)...); err == nil {
		t.Errorf("a request may have more than %d tags", maxHostTags)
	}
	unsigned := question4(5, 1)
	unsigned.HostTags = 1
	if _, err := unsigned.Marshal(); err == nil {
		t.Error("a request that is not signed may have tags")
	}
}

// A host remembers no time for good because of a tag: a stolen secret could keep the operator out until that time has come.
func TestHostTagLeavesNothing(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b, shared, handle, sent := addressBed(t, host, op)
	b.r.authority.find(obeying(op), op.ID()).secret = &shared
	ahead, clocks, far := question4(5, 1), question4(5, 2), question4(5, 3)
	ahead.Time, far.Time = ahead.Time.Add(20*time.Second), time.UnixMilli(maxMillis)
	clocks.Clock, far.Clock = true, true
	for name, q := range map[string]Request{"ahead": ahead, "about clocks": clocks, "about clocks, of a time to come": far} {
		if o := handle(falsified(t, q, op, shared)); o != forged {
			t.Errorf("request %s with the host's tag and no signature is %v, want %v", name, o, forged)
		}
	}
	if now := b.r.authority.floors.now[op.ID()]; now != 0 || *sent != 0 {
		t.Errorf("%d replies, and the host remembers %d", *sent, now)
	}
	if o := handle(mustSign(t, clocks, op, shared)); o != answered || b.r.authority.floors.now[op.ID()] == 0 {
		t.Errorf("signed request about clocks is %v, or the host remembers nothing", o)
	}
}

// TestSweepAddresses looks at whom requests of a sweep have tags for: all who are known, in the first round; and nobody if they are more
// than one request has room for, or asked by way of a relay.
func TestSweepAddresses(t *testing.T) {
	t.Parallel()
	op, keys, ring := newKey(t, "op"), map[ID]trust.Key{}, new(Keyring)
	var expect []Known
	for i := range maxHostTags {
		id := ID{byte(i + 1)}
		keys[id] = newKey(t, "host")
		expect = append(expect, Known{ID: id})
		if i != 1 { // of one, what is shared has not been computed yet
			s, err := share(op, public(keys[id]), public(op), public(keys[id]))
			if err != nil {
				t.Fatal(err)
			}
			ring.set(public(keys[id]), held{Secret: s})
		}
	}
	c := SweepConfig{Sealed: true, Key: op, Keyring: ring, Known: knows(keys)}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	long := c
	long.BrokerPort, long.Topic = 1883, "/"+strings.Repeat("x", 255)
	straight, relay := &way{}, &way{relay: new(relayPath)}
	first := census.Ask{Round: 1, Seq: 1}
	later := census.Ask{Round: 2, Seq: 2, Call: census.Call{Filter: []byte{1}, Hashes: 1}}
	for name, tt := range map[string]struct {
		c      SweepConfig
		expect []Known
		way    *way
		ask    census.Ask
		want   int
	}{
		"nobody known":         {c, nil, straight, first, 0},
		"ten":                  {c, expect[:10], straight, first, 9},
		"nobody has answered":  {c, expect[:10], straight, census.Ask{Round: 2, Seq: 2}, 0},
		"a stranger among ten": {c, append([]Known{{ID: ID{0, 1}}}, expect[:9]...), straight, first, 8},
		"as many as can be":    {c, expect, straight, first, maxHostTags - 1},
		"too many":             {c, append([]Known{{ID: ID{0, 1}}}, expect...), straight, first, 0},
		"no room":              {long, expect, straight, first, 0},
		"one was heard":        {c, expect[:10], straight, later, 0},
		"by a relay":           {c, expect[:10], relay, first, 0},
	} {
		tt.c.Expect = tt.expect
		s := newSweep(tt.c, nil, nil)
		raw, err := s.encode(s.question(tt.way, tt.ask), s.addressees(tt.way, tt.ask)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		q, err := ParseSigned(raw, public(op))
		if err != nil || q.HostTags != tt.want {
			t.Errorf("%s: %d tags, %v, want %d", name, q.HostTags, err, tt.want)
		}
		for _, k := range tt.expect {
			key, ok := keys[k.ID]
			s, has := Secret{}, false
			if ok {
				s, has = ring.Get(public(key))
			}
			if o := (&operator{secret: &s}); o.addressed(&q, raw) != (has && tt.want > 0) {
				t.Errorf("%s: host %v is addressed: %v", name, k.ID, !has)
			}
		}
	}
}

// A sweep that knows a host is answered by one that may check no signature at all; one that has not kept what they share is not.
func TestSweepOfKnownHostsSparesSignatures(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	shared, err := share(op, public(host), public(op), public(host))
	if err != nil {
		t.Fatal(err)
	}
	b.r.authority.find(obeying(op), op.ID()).secret = &shared
	for i := range 64 { // interfaces
		b.r.authority.checks[i] = bucket{tokens: -1e12, last: time.Now()}
	}
	b.start()
	id, kept := closedHost(1, "pi").ID, new(Keyring)
	kept.Put(public(host), shared)
	c := SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: op, Known: knows(map[ID]trust.Key{id: host}), Keyring: kept, Expect: []Known{{ID: id}}}
	if got, stats := gather(t, c); len(got) != 1 || !stats.Complete {
		t.Errorf("%d hosts, %+v; outcomes: %v", len(got), stats, nonzero(b.r.Stats()))
	}
	c.Keyring, c.Wait = nil, 300*time.Millisecond
	if got, _ := gather(t, c); len(got) != 0 || b.r.Stats()[rate.String()] == 0 {
		t.Errorf("without what they share, %d hosts; outcomes: %v", len(got), nonzero(b.r.Stats()))
	}
}

// BenchmarkHostTag is what it takes a host to find its tag, the last one of so many, and to check the signature that it stands for.
func BenchmarkHostTag(b *testing.B) {
	host, op := newKey(b, "host"), newKey(b, "op")
	shared, err := share(op, public(host), public(op), public(host))
	if err != nil {
		b.Fatal(err)
	}
	o := &operator{secret: &shared}
	for _, n := range []int{1, 10, 100} {
		hosts := make([]Secret, n)
		hosts[n-1] = shared
		raw := mustSign(b, question4(5, 1), op, hosts...)
		q, err := ParseRequest(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("tag/hosts=%d", n), func(b *testing.B) {
			for b.Loop() {
				if q.checkHostTags(raw) != nil || !o.addressed(&q, raw) {
					b.Fatal("the host does not find its tag")
				}
			}
		})
		b.Run(fmt.Sprintf("signature/hosts=%d", n), func(b *testing.B) {
			for b.Loop() {
				if !signedBy(q.signed(raw), public(op)) {
					b.Fatal("signature is not good")
				}
			}
		})
	}
}
