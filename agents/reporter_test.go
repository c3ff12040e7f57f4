package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// request returns a request as the host's monitor publishes it, with a pass for the endpoint.
func request(t testing.TB, dir, endpoint, cmd, id string) reports.Request {
	t.Helper()
	passes, err := discover.LoadPasses(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := reports.Request{Cmd: cmd, ReplyTo: "laptop", Topic: "/stat/data", ID: reports.ID(id)}
	r.Pass = passes.Issue(r, discover.Endpoint{Addr: netip.MustParseAddrPort(endpoint)}, time.Now())
	r.Hostname, r.IPAddr = "h", "127.0.0.1"
	return r
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReportsGoToTheRequestersBroker(t *testing.T) {
	t.Parallel()
	own, dir := bustest.Start(t), t.TempDir()
	foreign := bustest.StartStoppable(t)
	laptop := newWatch(t, foreign.URL())
	host := newWatch(t, own)
	startRunner(t, RunnerConfig{Config: parse(t, own, dir, "  a: {agent: fake}\n  b: {agent: fake}\n"),
		Factories: []Factory{fakeFactory(func() (Agent, error) { return newFake(), nil })}})
	host.wantLast("/h/a/status", "online")
	host.wantLast("/h/b/status", "online")
	count := func() (n int) {
		for _, m := range laptop.all {
			if m.Topic == "/stat/data" {
				n++
			}
		}
		return n
	}
	// The runner subscribes beside its services: a request may come before it has.
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for asked := 0; ; asked++ {
		laptop.mu.Lock()
		n := count()
		laptop.mu.Unlock()
		if n > 0 {
			break
		}
		host.publish(reports.ReportTopic, marshal(t, request(t, dir, foreign.Addr(), "status", "1241")), false)
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("no report after %d requests", asked)
		}
	}
	laptop.until("two reports", func() bool { return count() == 2 })
	host.publish(reports.ReportTopic, marshal(t, request(t, dir, foreign.Addr(), "status", "1241")), false) // the same id
	host.publish(reports.ReportTopic, marshal(t, request(t, dir, foreign.Addr(), "getapps", "1242")), false)
	host.publish(reports.ReportTopic, marshal(t, request(t, dir, foreign.Addr(), "getinputs", "1243")), false)
	laptop.until("two lists", func() bool { return count() >= 4 })

	laptop.mu.Lock()
	defer laptop.mu.Unlock()
	if n := count(); n != 4 {
		t.Errorf("%d reports, want 4: one a service and id, none for getapps", n)
	}
	names := map[string]int{}
	for _, m := range laptop.all {
		var r map[string]any
		if err := json.Unmarshal(m.Payload, &r); err != nil || m.Topic != "/stat/data" {
			continue
		}
		names[fmt.Sprint(r["service"], " ", r["id"])]++
		if m.Retained || r["pass"] != nil || r["hostname"] != "h" || r["replyto"] != "laptop" {
			t.Errorf("report %s, retained %v", m.Payload, m.Retained)
		}
		if r["id"] == 1241.0 && (r["function"] != "fake" || r["inputs"] != "/h/"+r["service"].(string)+"/set") {
			t.Errorf("report %s", m.Payload)
		}
		if list, _ := r["inputs"].([]any); r["id"] == 1243.0 && len(list) != 3 {
			t.Errorf("inputs of %s, want three topics", m.Payload)
		}
	}
	for _, want := range []string{"a 1241", "b 1241", "a 1243", "b 1243"} {
		if names[want] != 1 {
			t.Errorf("%d reports of %s, want 1", names[want], want)
		}
	}
}

// testReporter is a reporter with a key, whose deliveries are recorded.
func testReporter(t testing.TB, dir string, deliver func(context.Context, bus.Config, ...bus.Message) error) *reporter {
	t.Helper()
	passes, err := discover.LoadPasses(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := newReporter(func() []reports.Service { return []reports.Service{{Name: "s", Function: "fake"}} }, deliver, slog.New(slog.DiscardHandler))
	p.passes = passes
	return p
}

// A datagram of the longest length is longer once the monitor has enriched it, and is answered.
func TestLongestRequestIsAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	head := `{"cmd":"status","replyto":"laptop","topic":"/t","id":5,"note":"`
	datagram := head + strings.Repeat("<", reports.MaxRequest-len(head)-2) + `"}`
	r, err := reports.ParseRequest([]byte(datagram))
	if err != nil || len(datagram) != reports.MaxRequest {
		t.Fatalf("%d bytes: %v", len(datagram), err)
	}
	p := testReporter(t, dir, nil)
	r.Hostname, r.IPAddr = "h", "192.168.1.50"
	r.Pass = p.passes.Issue(r, discover.Endpoint{Addr: netip.MustParseAddrPort("192.0.2.1:1883")}, time.Now())
	p.receive(bus.Message{Topic: reports.ReportTopic, Payload: []byte(marshal(t, r))})
	select {
	case a := <-p.queue:
		if a.request.Hostname != "h" || len(a.request.Extra["note"]) < len(r.Extra["note"]) {
			t.Errorf("queued %+v", a.request)
		}
	default:
		t.Error("the request is not answered")
	}
}

func TestRequestsWithoutAPassAreIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := request(t, dir, "127.0.0.1:1883", "status", "1")
	change := func(f func(*reports.Request)) string { r := good; f(&r); return marshal(t, r) }
	otherHost := request(t, t.TempDir(), "127.0.0.1:1883", "status", "1")
	old, err := discover.LoadPasses(dir)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		payload  string
		retained bool
		want     int
	}{
		"good":             {marshal(t, good), false, 1},
		"retained":         {marshal(t, good), true, 0},
		"no pass":          {change(func(r *reports.Request) { r.Pass = "" }), false, 0},
		"another topic":    {change(func(r *reports.Request) { r.Topic = "/other" }), false, 0},
		"another replyto":  {change(func(r *reports.Request) { r.ReplyTo = "evil" }), false, 0},
		"another id":       {change(func(r *reports.Request) { r.ID = "2" }), false, 0},
		"another question": {change(func(r *reports.Request) { r.Cmd = "getinputs" }), false, 0},
		"another key":      {marshal(t, otherHost), false, 0},
		"garbage":          {"{", false, 0},
		"too old": {change(func(r *reports.Request) {
			r.Pass = old.Issue(*r, discover.Endpoint{Addr: netip.MustParseAddrPort("127.0.0.1:1883")}, time.Now().Add(-time.Hour))
		}), false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := testReporter(t, dir, nil)
			p.receive(bus.Message{Topic: reports.ReportTopic, Payload: []byte(tt.payload), Retained: tt.retained})
			if got := len(p.queue); got != tt.want {
				t.Errorf("%d answers are owed, want %d", got, tt.want)
			}
			p.passes = nil
			p.answered = map[string]time.Time{}
			p.receive(bus.Message{Topic: reports.ReportTopic, Payload: []byte(tt.payload), Retained: tt.retained})
			if got := len(p.queue); got != tt.want {
				t.Errorf("without a key %d answers are owed, want no more than before", got)
			}
		})
	}
}

func TestRequestsAreAnsweredOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := testReporter(t, dir, nil)
	now := time.Now()
	p.now = func() time.Time { return now }
	for _, s := range []struct {
		endpoint, id string
		after        time.Duration
		want         int
	}{
		{"127.0.0.1:1", "7", 0, 1}, {"127.0.0.1:1", "7", 0, 1}, {"127.0.0.1:2", "7", 0, 2}, {"127.0.0.1:1", `"7"`, 0, 3},
		{"127.0.0.1:1", "7", 30 * time.Second, 3},
	} {
		now = now.Add(s.after)
		p.receive(bus.Message{Payload: []byte(marshal(t, request(t, dir, s.endpoint, "status", s.id)))})
		if got := len(p.queue); got != s.want {
			t.Errorf("after id %s to %s: %d answers are owed, want %d", s.id, s.endpoint, got, s.want)
		}
	}
	for i := range reportsWaiting {
		p.receive(bus.Message{Payload: []byte(marshal(t, request(t, dir, "127.0.0.1:1", "status", fmt.Sprint(100+i))))})
	}
	if got := len(p.queue); got != reportsWaiting {
		t.Errorf("%d answers wait, want %d", got, reportsWaiting)
	}
	if _, there := p.answered[fmt.Sprintf("127.0.0.1:1 %q status %d ", "/stat/data", 100+reportsWaiting-1)]; there {
		t.Error("a request that was dropped counts as answered")
	}
}

func TestFirstForgets(t *testing.T) {
	t.Parallel()
	seen := map[string]time.Time{}
	now := time.Now()
	for i := range answeredMost + 200 {
		if !first(seen, fmt.Sprint(i), now.Add(time.Duration(i)), time.Hour) {
			t.Fatalf("key %d was not seen before", i)
		}
	}
	if len(seen) > answeredMost {
		t.Errorf("%d keys are remembered, want %d at most", len(seen), answeredMost)
	}
	if first(seen, fmt.Sprint(answeredMost+199), now, time.Hour) {
		t.Error("the newest key was forgotten")
	}
	if !first(seen, fmt.Sprint(answeredMost+199), now.Add(2*time.Hour), time.Hour) {
		t.Error("a key is remembered for longer than said")
	}
}

func TestAtMostFourBrokersAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reqs := make([]string, 20)
	for i := range reqs {
		reqs[i] = marshal(t, request(t, dir, "127.0.0.1:1", "status", fmt.Sprint(i)))
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, done := 0, 0, 0
		p := testReporter(t, dir, func(ctx context.Context, _ bus.Config, m ...bus.Message) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-ctx.Done() // a broker that does not answer
			mu.Lock()
			defer mu.Unlock()
			now, done = now-1, done+1
			return ctx.Err()
		})
		p.now = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
		for _, r := range reqs {
			var req reports.Request
			if err := json.Unmarshal([]byte(r), &req); err != nil {
				t.Fatal(err)
			}
			p.queue <- answer{req, discover.Endpoint{Addr: netip.MustParseAddrPort("127.0.0.1:1")}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range reportsAtOnce {
			p.work.Go(func() { p.answerAll(ctx) })
		}
		start := time.Now()
		timer := time.NewTimer(20/reportsAtOnce*reportTimeout + time.Millisecond)
		<-timer.C
		synctest.Wait()
		if most != reportsAtOnce || done != len(reqs) {
			t.Errorf("%d at a time, %d of %d ended after %v, want %d at a time and all", most, done, len(reqs), time.Since(start), reportsAtOnce)
		}
		cancel()
		p.work.Wait()
	})
}

// TestUnreachableEndpoint answers to an address where nobody listens, and to one where nobody speaks MQTT.
func TestUnreachableEndpoint(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()
	for name, addr := range map[string]string{"silent": silent.Addr().String(), "nobody": nobody} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			p := testReporter(t, t.TempDir(), bus.Deliver)
			if p.timeout != reportTimeout {
				t.Errorf("timeout %v, want %v", p.timeout, reportTimeout)
			}
			p.timeout = 300 * time.Millisecond
			p.log = slog.New(slog.NewTextHandler(&log, nil))
			a := answer{reports.Request{Cmd: "status", Topic: "/x"}, discover.Endpoint{Addr: netip.MustParseAddrPort(addr)}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := time.Now()
			err := p.answer(ctx, a)
			if took := time.Since(start); err == nil || took > p.timeout+time.Second {
				t.Errorf("answer = %v after %v, want an error within %v", err, took, p.timeout)
			}
			p.logFailure(a.endpoint, err)
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=INFO") {
				t.Errorf("log = %q, want one line of information", log.String())
			}
		})
	}
}

// Failures are logged once a minute in all, however many endpoints requests name, with the number of those left out.
func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	p := testReporter(t, t.TempDir(), bus.Deliver)
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	now := time.Now()
	p.now = func() time.Time { return now }
	for i := range 3 * 60 { // three minutes
		for j := range 5 {
			p.logFailure(discover.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(j)}), 1883)}, net.ErrClosed)
		}
		now = now.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "left_out=0") || !strings.Contains(lines[1], "left_out=299") || !strings.Contains(lines[2], "left_out=299") {
		t.Errorf("log = %q, want three lines, with 0, 299 and 299 left out", log.String())
	}
}

func TestKeyThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	url := bustest.Start(t)
	w := newWatch(t, url)
	startRunner(t, RunnerConfig{Config: parse(t, url, filepath.Join(file, "below"), "  s: {agent: fake}\n"),
		Factories: []Factory{fakeFactory(same(newFake()))}})
	w.wantLast("/h/s/status", "online") // the services go on
}
