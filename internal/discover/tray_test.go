package discover

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTray reads bodies of hosts of several kinds on one tray, batch by batch: each says what it says when read alone, also after
// the others were read.
func TestTray(t *testing.T) {
	t.Parallel()
	const kinds, hosts = 5, 200
	var raw [][]byte
	for i := range hosts {
		kind := i % kinds
		if i%10 == 7 {
			kind = kinds + i/10 // of its own: it pushes another out
		}
		b := ReplyBody{Hostname: fmt.Sprintf("pi-%d", i), Brokers: []string{fmt.Sprintf("tcp://pi-%d:1883", i)}, Services: services(1+kind, 8)}
		b.Services[0].Simulated = i%3 == 0 // told apart from the rest of the list
		page, err := b.marshal(0)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, page)
	}
	m, got := new(tray), make([]ReplyBody, hosts)
	for i := range raw {
		if i%16 == 0 {
			m.reuse(16)
		}
		if err := got[i].unmarshal(append([]byte{}, raw[i]...), 0, m); err != nil {
			t.Fatal(err)
		}
		m.left--
	}
	for i := range raw {
		var want ReplyBody
		if err := want.unmarshal(raw[i], 0, newTray(1)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got[i], byValue); d != "" {
			t.Fatalf("host %d (-want +got):\n%s", i, d)
		}
	}
}

// TestTrayRefused: a list of services that was refused is not remembered as one that was good.
func TestTrayRefused(t *testing.T) {
	t.Parallel()
	bad := must(encoding.Marshal(replyBody{Hostname: "pi", Services: []replyService{{Name: "a b", Digest: []byte{}}}}))
	m := newTray(2)
	for range 2 {
		var b ReplyBody
		if err := b.unmarshal(bad, 0, m); err == nil {
			t.Fatalf("a service called %q is taken", b.Services[0].Name)
		}
	}
}

// TestTrayAllocates: replies that came together take less than one allocation each.
func TestTrayAllocates(t *testing.T) {
	const hosts = 64
	b := ReplyBody{Hostname: "pi", Brokers: []string{"tcp://pi:1883"}, Services: services(8, 8)}
	raw := must(b.marshal(0))
	m, got := new(tray), ReplyBody{}
	n := testing.AllocsPerRun(10, func() {
		m.reuse(hosts)
		for range hosts {
			if err := got.unmarshal(raw, 0, m); err != nil {
				t.Fatal(err)
			}
			m.left--
		}
	})
	if n >= hosts {
		t.Errorf("%v allocations for %d replies", n, hosts)
	}
}
