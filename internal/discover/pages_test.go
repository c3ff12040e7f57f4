package discover

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/census"
	"rollcall/reports"
)

// services returns n services with names of a length.
func services(n, length int) []Service {
	var out []Service
	for i := range n {
		name := fmt.Sprintf("%0*d", length, i)
		out = append(out, Service{Name: name, Function: "gpio", Status: reports.Online, Points: i, Simulated: i%3 == 1, Digest: [8]byte{byte(i), 1}})
	}
	return out
}

func TestEncodePages(t *testing.T) {
	t.Parallel()
	full := Host{ID: ID{1}, Hostname: strings.Repeat("h", 64), ExtAddr: "2001:db8:1111:2222:3333:4444:5555:6666", Model: strings.Repeat("m", 48),
		OS: strings.Repeat("o", 48), Arch: strings.Repeat("a", 48), Version: strings.Repeat("v", 48), BootID: strings.Repeat("b", 48),
		Started: time.Now(), MAC: net.HardwareAddr{1, 2, 3, 4, 5, 6}, LoopbackOnly: true}
	for i := range 12 {
		full.Addrs = append(full.Addrs, netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}))
		full.Brokers = append(full.Brokers, "mqtts://"+strings.Repeat("x", 80)+":"+fmt.Sprint(8000+i))
	}
	for _, tt := range []struct{ n, length, pages int }{{0, 1, 1}, {1, 64, 1}, {10, 10, 2}, {100, 8, 4}, {64, 64, 7}, {64 * 64, 2, 64}, {5000, 64, 64}} {
		t.Run(fmt.Sprint(tt.n, tt.length), func(t *testing.T) {
			t.Parallel()
			h := full
			h.Services = services(tt.n, tt.length)
			p, err := encodePages(h, 7)
			if p == nil {
				t.Fatal(err)
			}
			var got []Service
			for i, raw := range p.data {
				if len(raw)+sealOverhead+signatureSize > MinRequest {
					t.Errorf("page %d has %d bytes, more than the request", i, len(raw))
				}
				r, err := ParseReply(raw)
				if err != nil {
					t.Fatalf("page %d: %v", i, err)
				}
				if int(r.Page) != i || int(r.Pages) != len(p.data) || r.Edition != 7 || r.Flags&FlagLoopbackOnly == 0 {
					t.Errorf("page %d is %d of %d, edition %d, flags %b", i, r.Page, r.Pages, r.Edition, r.Flags)
				}
				got = append(got, r.Body.Services...)
			}
			if len(got) < tt.n && (len(p.data) != maxPages || err == nil || !strings.Contains(err.Error(), "services do not fit")) {
				t.Errorf("%d of %d services are on %d pages, error %v", len(got), tt.n, len(p.data), err)
			}
			if !slices.Equal(got, h.Services[:len(got)]) {
				t.Errorf("services differ: %v", cmp.Diff(h.Services[:len(got)], got))
			}
			if len(p.data) > maxPages || (tt.n < 4096 && len(got) != tt.n) || len(p.data) != tt.pages {
				t.Errorf("%d services stand on %d pages, want %d on %d", len(got), len(p.data), tt.n, tt.pages)
			}
		})
	}
}

func TestEncodePagesLeavesOutWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := testHost(1, "pi", Service{Name: "gpio", Function: "gpio"}, Service{Name: "a/b", Function: "x"}, Service{Name: "ok", Function: "two words"})
	h.ExtAddr, h.Model, h.Brokers = "not one", "Pi\x1b[31m \xff Zero\n", []string{"file:///etc/passwd", "tcp://pi:1883"}
	p, err := encodePages(h, 1)
	if p == nil || err == nil {
		t.Fatalf("encodePages() = %v, %v, want pages and an error", p, err)
	}
	for _, want := range []string{`"not one"`, "file:///etc/passwd", `"a/b"`, `"two words"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	r, err := ParseReply(p.data[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Model != "Pi[31m  Zero" || len(r.Body.Services) != 1 || !slices.Equal(r.Body.Brokers, []string{"tcp://pi:1883"}) || r.Body.ExtAddr != "" {
		t.Errorf("body = %+v", r.Body)
	}
	for _, bad := range []Host{{}, {ID: ID{1}, Hostname: "a b"}, {Hostname: "pi"}} {
		if p, err := encodePages(bad, 1); p != nil || err == nil {
			t.Errorf("encodePages(%+v) = %v, %v, want an error", bad, p, err)
		}
	}
}

func TestEditionChangesWithThePages(t *testing.T) {
	t.Parallel()
	r := newBed(t, "127.0.0.1:0", nil).r
	edition := func() uint16 {
		reply, err := ParseReply(r.said.Load().data[0])
		if err != nil {
			t.Fatal(err)
		}
		return reply.Edition
	}
	h := testHost(1, "pi", services(60, 8)...)
	r.Update(h)
	first := edition()
	h.Started = time.Now()
	if r.Update(h); edition() != first || !r.said.Load().started.Equal(h.Started) {
		t.Errorf("edition = %d after a change that is on no page, want %d", edition(), first)
	}
	h.Services[59].Status = reports.Offline
	if r.Update(h); edition() != first+1 {
		t.Errorf("edition = %d after a change, want %d", edition(), first+1)
	}
}

func TestLoopbackURL(t *testing.T) {
	t.Parallel()
	for u, want := range map[string]bool{"tcp://127.0.0.1:1883": true, "tcp://127.9.9.9:1": true, "mqtt://localhost": true, "ws://LOCALHOST.:9001": true,
		"tcp://pi.localhost:1883": true, "tcp://[::1]:1883": true, "tcp://[::ffff:127.0.0.1]:1883": true, "tcp://0.0.0.0:1883": true,
		"tcp://[::]:1883": true, "tcp://192.168.1.7:1883": false, "mqtts://pi:8883": false, "tcp://localhost.lan:1883": false} {
		if got := loopbackURL(u); got != want {
			t.Errorf("loopbackURL(%q) = %v, want %v", u, got, want)
		}
	}
}

// selects reports whether the request asks a host of this id and name that has no services.
func selects(q *Request, id ID, name string) bool {
	call, s := q.call(), census.SpreadOf(q.Sweep, q.Salt, id)
	return call.InRange(s) && !call.Heard(s) && wanted(q.Want, labels{name: name})
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	host := labelsOf(Host{Hostname: "PiZero2", Services: []Service{
		{Name: "gpio", Function: "gpio", Classes: "switch"}, {Name: "heat", Function: "ds18b20", Classes: "temperature humidity"}}})
	for s, want := range map[string]bool{
		"": true, "*": true, "pizero*": true, "pi": false, "name=pizero?": true, "service=gpio": true, "service=ds18b20": true, "service=nut": false,
		"class=temperature": true, "class=Temp*": true, "class=voltage": false, "pizero*,service=gpio,class=temperature": true,
		"pizero*,service=gpio,class=voltage": false, "other*,service=gpio": false, "SERVICE=GPIO": true, "class=humidity,class=switch": true,
	} {
		if err := ValidSelector(s); err != nil {
			t.Errorf("ValidSelector(%q) = %v", s, err)
		}
		if got := wanted(s, host); got != want {
			t.Errorf("wanted(%q) = %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{",", "a,", "service=", "colour=red", "service=a/b", "a=b=c", strings.Repeat("a,", 8) + "a", strings.Repeat("a", 65)} {
		if err := ValidSelector(s); err == nil {
			t.Errorf("ValidSelector(%q) = nil, want an error", s)
		}
	}
}

func TestSelects(t *testing.T) {
	t.Parallel()
	id := ID{1, 2, 3}
	base := question(1, 1)
	base.Salt = 99
	s := census.SpreadOf(base.Sweep, base.Salt, id)
	for name, tt := range map[string]struct {
		change func(q *Request)
		want   bool
	}{
		"all":              {func(*Request) {}, true},
		"range to itself":  {func(q *Request) { q.Lo, q.Hi = s.Place, s.Place+1 }, true},
		"range before it":  {func(q *Request) { q.Hi = s.Place }, false},
		"range after it":   {func(q *Request) { q.Lo = s.Place + 1 }, false},
		"range open above": {func(q *Request) { q.Lo = s.Place }, true},
		"in the sample":    {func(q *Request) { q.Sample = s.Sample + 1 }, true},
		"out of sample":    {func(q *Request) { q.Sample = s.Sample }, false},
		"own name":         {func(q *Request) { q.Want = "Pi2" }, true},
		"pattern":          {func(q *Request) { q.Want = "p*" }, true},
		"one character":    {func(q *Request) { q.Want = "pi?" }, true},
		"star":             {func(q *Request) { q.Want = "*" }, true},
		"other name":       {func(q *Request) { q.Want = "pi" }, false},
		"empty filter":     {func(q *Request) { q.Filter, q.FilterHashes = make([]byte, 8), 5 }, true},
		"full filter":      {func(q *Request) { q.Filter, q.FilterHashes = []byte{0xff}, 5 }, false},
	} {
		q := base
		tt.change(&q)
		if got := selects(&q, id, "pi2"); got != tt.want {
			t.Errorf("%s: selects() = %v, want %v", name, got, tt.want)
		}
	}
}

// TestFilter fills a filter of 32 bits for each host: all that were heard are in it, and hardly any other.
func TestFilter(t *testing.T) {
	t.Parallel()
	const n = 200
	q := question(5, 1)
	q.Filter, q.FilterHashes = make([]byte, n*4), 22
	heard := func(i int) ID { return ID{1, byte(i >> 8), byte(i)} }
	for i := range n {
		s := census.SpreadOf(q.Sweep, q.Salt, heard(i))
		for j := range q.FilterHashes {
			bit := (s.Bloom>>32 + uint64(j)*(s.Bloom&0xffffffff|1)) % (uint64(len(q.Filter)) * 8) // as doc.go says
			q.Filter[bit/8] |= 1 << (bit % 8)
		}
	}
	wrong := 0
	for i := range n {
		if selects(&q, heard(i), "pi") {
			t.Errorf("host %v was heard and is asked again", heard(i))
		}
		if !selects(&q, ID{2, byte(i >> 8), byte(i)}, "pi") {
			wrong++
		}
	}
	if wrong > 1 {
		t.Errorf("%d of %d hosts that were not heard are not asked", wrong, n)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"*", "pi?", "PI-0_*", strings.Repeat("a", 64), "**"} {
		if err := validPattern(s); err != nil {
			t.Errorf("validPattern(%q) = %v", s, err)
		}
	}
	for _, s := range []string{"a/b", "[a]", `\*`, "a b", "ü", strings.Repeat("*", 65), "\x00"} {
		if err := validPattern(s); err == nil {
			t.Errorf("validPattern(%q) = nil, want an error", s)
		}
	}
	slow := time.Now()
	wanted(strings.Repeat("*a", 31)+"b", labels{name: strings.Repeat("a", 64)})
	if took := time.Since(slow); took > time.Second {
		t.Errorf("the worst pattern took %v", took)
	}
}
