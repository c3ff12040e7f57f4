package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// three boots three hosts, two of one name, and returns what --to takes.
func three(t *testing.T) string {
	t.Helper()
	open := hostNamed("pizero2", 0xcc)
	open.Open = true
	return strings.Join([]string{boot(t, hostNamed("pizero2", 0xbb), nil).addr, boot(t, discover.Host{ID: discover.ID{0xaa}, Hostname: "bare", ExtAddr: "203.0.113.9"}, nil).addr,
		boot(t, open, nil).addr}, ",")
}

var (
	volatile = regexp.MustCompile(`"id":\d+,"elapsed_ms":\d+`)
	counts   = regexp.MustCompile(`in \S+ \(\d+ datagrams sent, \d+ received\)`)
)

const golden = `{"ID","complete":true,"p_miss":0,"hosts":[` +
	`{"id":"aa00000000000000","hostname":"bare","ipaddr":"127.0.0.1","extaddr":"203.0.113.9","via":["udp"],"services":[]},` +
	`{"id":"bb01020304050607","hostname":"pizero2","ipaddr":"127.0.0.1","extaddr":"","via":["udp"],"services":[` + services + `]},` +
	`{"id":"cc01020304050607","hostname":"pizero2","ipaddr":"127.0.0.1","extaddr":"","via":["udp"],"services":[` + services + `]}]}` + "\n"

const services = `{"name":"gpio","function":"gpio","inputs":"/pizero2/gpio/set","outputs":"/pizero2/gpio","control":"/pizero2/gpio/control","status":"online","points":3},` +
	`{"name":"hostsensor","function":"hostsensor","inputs":"/pizero2/hostsensor/set","outputs":"/pizero2/hostsensor","control":"/pizero2/hostsensor/control","status":"offline","points":21,"simulated":true}`

func TestSweepJSON(t *testing.T) {
	t.Parallel()
	to, l := three(t), newLaptop(t)
	for range 2 { // the same cluster, the same bytes
		stdout, stderr := l.want(exitOK, "sweep", "--json", "--to", to)
		if got := volatile.ReplaceAllString(stdout, `"ID"`); got != golden {
			t.Errorf("got  %s\nwant %s", got, golden)
		}
		if !strings.HasPrefix(stderr, "3 hosts, 4 services in ") {
			t.Errorf("stderr: %s", stderr)
		}
	}
}

func TestSweepTable(t *testing.T) {
	t.Parallel()
	stdout, stderr := newLaptop(t).want(exitOK, "sweep", "--to", three(t))
	rows := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	head := "HOST             ADDRESS         SERVICE        FUNCTION     STATUS  POINTS  ID"
	if rows[0] != head {
		t.Errorf("got  %q\nwant %q", rows[0], head)
	}
	slices.Sort(rows[1:]) // hosts come as they come
	want := []string{
		"bare             127.0.0.1       -              -            -            -  aa000000",
		"pizero2          127.0.0.1       gpio           gpio         online       3  bb010203",
		"pizero2          127.0.0.1       gpio           gpio         online       3  cc010203",
		"pizero2          127.0.0.1       hostsensor     hostsensor   offline     21  bb010203  simulated",
		"pizero2          127.0.0.1       hostsensor     hostsensor   offline     21  cc010203  simulated",
	}
	if diff := cmp.Diff(want, rows[1:]); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	wantErr := "3 hosts, 4 services COUNTS\n" +
		"complete, P(miss) < 1e-4\n" +
		"udpsrv: warning: 2 hosts are named pizero2: bb01020304050607 at 127.0.0.1, cc01020304050607 at 127.0.0.1\n" +
		"open, answering anyone (no authorized_operators file): pizero2\n"
	if got := counts.ReplaceAllString(stderr, "COUNTS"); got != wantErr {
		t.Errorf("got  %s\nwant %s", got, wantErr)
	}
}

func TestSweepFindsNobody(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	stdout, stderr := l.want(exitFail, "sweep", "--json", "--to", freePort(t), "--wait", "150ms")
	if got := volatile.ReplaceAllString(stdout, `"ID"`); got != `{"ID","complete":false,"p_miss":1,"hosts":[]}`+"\n" {
		t.Errorf("stdout: %s", got)
	}
	// The time is that which it took, not that which it might have taken.
	var d document
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || !regexp.MustCompile(fmt.Sprintf(`\nudpsrv: no host answered \((%d|%d)ms\)\n$`, d.ElapsedMS, d.ElapsedMS+1)).MatchString(stderr) {
		t.Errorf("stderr: %s", stderr)
	}
	if stdout, _ = l.want(exitFail, "sweep", "--to", freePort(t), "--wait", "150ms"); stdout != "" {
		t.Errorf("stdout: %s", stdout)
	}
	for _, c := range [][2]string{{"fe80::1", "needs the interface behind it"}, {"no-such-name.invalid", "--to no-such-name.invalid: "}} {
		if _, stderr := l.want(exitFail, "sweep", "--to", c[0]); !strings.Contains(stderr, c[1]) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("--to %s: %s", c[0], stderr)
		}
	}
}

func TestInterruptedSweepPrintsWhatItHas(t *testing.T) {
	t.Parallel()
	r := boot(t, hostNamed("pizero2", 1), nil)
	ctx, cancel := context.WithCancel(context.Background())
	rows := &onWrite{do: cancel}
	var errs bytes.Buffer
	code := run(ctx, []string{"--cache", newLaptop(t).cache, "sweep", "--to", r.addr + "," + freePort(t), "--wait", "1m"}, strings.NewReader(""), rows, &errs)
	if code != exitOK || !strings.Contains(rows.String(), "hostsensor") || !strings.HasPrefix(errs.String(), "1 host, 2 services") {
		t.Errorf("status %d, stdout %q, stderr %q", code, rows, &errs)
	}
}

// onWrite is a buffer that does something at the first write.
type onWrite struct {
	bytes.Buffer
	do func()
}

func (o *onWrite) Write(b []byte) (int, error) {
	o.do()
	return o.Buffer.Write(b)
}

// A host that has vanished is told of as missing, once.
func TestVanishedHostIsMissedOnce(t *testing.T) {
	t.Parallel()
	stays, goes, l := boot(t, hostNamed("stays", 1), nil), boot(t, hostNamed("goes", 2), nil), newLaptop(t)
	sweep := func() (d document, stderr string) {
		t.Helper()
		stdout, stderr := l.want(exitOK, "sweep", "--json", "--to", stays.addr+","+goes.addr)
		if err := json.Unmarshal([]byte(stdout), &d); err != nil {
			t.Fatal(err)
		}
		return d, stderr
	}
	d, stderr := sweep()
	if len(d.Hosts) != 2 || !d.Complete || len(d.Missing) != 0 || !strings.Contains(stderr, "\ncomplete, P(miss) < 1e-4\n") {
		t.Errorf("both there: %+v, %s", d, stderr)
	}
	goes.stop()
	d, stderr = sweep()
	if len(d.Hosts) != 1 || d.Complete || !slices.Equal(d.Missing, []string{"goes"}) || d.ElapsedMS > 1000 ||
		!strings.Contains(stderr, "\nincomplete: 1 of the addresses that were asked did not answer\n") ||
		!strings.Contains(stderr, "missing, known from the last sweep: goes\n") {
		t.Errorf("one gone: %+v, %s", d, stderr)
	}
	if d, stderr = sweep(); d.Complete || len(d.Missing) != 0 || strings.Contains(stderr, "missing, known") {
		t.Errorf("one gone since the last sweep: %+v, %s", d, stderr)
	}
}

// A selector is evaluated by the hosts; who does not fit is neither heard nor missing.
func TestSweepWant(t *testing.T) {
	t.Parallel()
	to, l := three(t), newLaptop(t)
	for want, hosts := range map[string]int{"bare": 1, "pi*,service=gpio": 2, "service=hostsensor": 2, "bare,service=gpio": 0, "*": 3} {
		code, wait := exitOK, "5s" // it ends sooner where somebody answers
		if hosts == 0 {
			code, wait = exitFail, "500ms"
		}
		stdout, stderr := l.want(code, "sweep", "--json", "--want", want, "--to", to, "--wait", wait)
		var d document
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || len(d.Hosts) != hosts || len(d.Missing) != 0 {
			t.Errorf("--want %q: %d hosts, %v, %s, want %d", want, len(d.Hosts), err, stderr, hosts)
		}
	}
	if _, stderr := l.want(exitUsage, "sweep", "--want", "colour=red"); !strings.Contains(stderr, "none of name, service, class") {
		t.Errorf("--want colour=red: %s", stderr)
	}
}

// The monitor of this machine is told who was heard.
func TestSweepTellsWhoWasHeard(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	got := make(chan string, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := bustest.Dial(t, url).Subscribe(ctx, 1, func(m bus.Message) { got <- string(m.Payload) }, "/me/heard")
	if err != nil {
		t.Fatal(err)
	}
	me, other := boot(t, hostNamed("me", 1, url), nil), boot(t, hostNamed("other", 2), nil)
	newLaptop(t).want(exitOK, "sweep", "--to", me.addr+","+other.addr)
	select {
	case list := <-got:
		var hosts []heard
		if err := json.Unmarshal([]byte(list), &hosts); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(hosts, func(a, b heard) int { return strings.Compare(a.Hostname, b.Hostname) })
		if want := []heard{{"me", "127.0.0.1"}, {"other", "127.0.0.1"}}; !slices.Equal(hosts, want) {
			t.Errorf("heard %v, want %v", hosts, want)
		}
	case <-ctx.Done():
		t.Fatal("nobody was told")
	}
}

// A list of very many hosts goes in parts, none of which is near what a broker or a monitor takes.
func TestHeardGoesInParts(t *testing.T) {
	t.Parallel()
	var hosts []*host
	for i := range 2*heardMost + 1 {
		hosts = append(hosts, &host{Found: reports.Found{Hostname: fmt.Sprintf("%s%d", strings.Repeat("h", reports.MaxName-4), i), IPAddr: "2001:db8:1111:2222:3333:4444:5555:6666"}})
	}
	n := 0
	for i, part := range heardParts(hosts) {
		var list []heard
		if err := json.Unmarshal(part, &list); err != nil {
			t.Fatal(err)
		}
		if want := []int{heardMost, heardMost, 1}[i]; len(list) != want || len(part) > reports.MaxPayload {
			t.Errorf("part %d: %d hosts in %d bytes, want %d", i, len(list), len(part), want)
		}
		for _, h := range list {
			if h != (heard{hosts[n].Hostname, hosts[n].IPAddr}) {
				t.Fatalf("host %d is %v", n, h)
			}
			n++
		}
	}
	if n != len(hosts) {
		t.Errorf("%d hosts, want %d", n, len(hosts))
	}
}

// watching is a `sweep --watch` under way.
type watching struct {
	t     *testing.T
	lines *bufio.Scanner
	stop  func() int
}

func watch(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience) // a request a second, several until a host is lost
	r, w := io.Pipe()
	done := make(chan int, 1)
	args = append([]string{"--cache", newLaptop(t).cache, "sweep", "--watch", "--every", "20ms", "--wait", "200ms"}, args...)
	go func() {
		done <- run(ctx, args, strings.NewReader(""), w, io.Discard)
		w.Close()
	}()
	go func() { <-ctx.Done(); r.Close() }()
	t.Cleanup(cancel)
	return &watching{t, bufio.NewScanner(r), func() int { cancel(); return <-done }}
}

// next returns the next line.
func (w *watching) next() string {
	w.t.Helper()
	if !w.lines.Scan() {
		w.t.Fatalf("no further line: %v", w.lines.Err())
	}
	return strings.Join(strings.Fields(w.lines.Text()), " ")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	h := hostNamed("pizero2", 0xab)
	r, stays := boot(t, h, nil), boot(t, discover.Host{ID: discover.ID{1}, Hostname: "stays"}, nil)
	w := watch(t, "--to", r.addr+","+stays.addr)
	got := []string{w.next(), w.next(), w.next(), w.next()}
	h.Services = slices.Clone(h.Services)
	h.Services[0].Points = 4
	r.Update(h)
	got = append(got, w.next())
	r.stop()
	got = append(got, w.next(), w.next())
	want := []string{
		"HOST ADDRESS SERVICE FUNCTION STATUS POINTS ID",
		"+ pizero2 127.0.0.1 gpio gpio online 3 ab010203",
		"+ pizero2 127.0.0.1 hostsensor hostsensor offline 21 ab010203 simulated",
		"+ stays 127.0.0.1 - - - - 01000000",
		"~ pizero2 127.0.0.1 gpio gpio online 4 ab010203",
		"- pizero2 127.0.0.1 gpio gpio online 4 ab010203",
		"- pizero2 127.0.0.1 hostsensor hostsensor offline 21 ab010203 simulated",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if code := w.stop(); code != exitOK {
		t.Errorf("status %d, want %d", code, exitOK)
	}
}

func TestWatchJSON(t *testing.T) {
	t.Parallel()
	r := boot(t, hostNamed("pizero2", 0xab), nil)
	w := watch(t, "--json", "--to", r.addr)
	for _, want := range []string{"join", "loss"} {
		var e struct {
			Event string        `json:"event"`
			Time  time.Time     `json:"time"`
			Host  reports.Found `json:"host"`
		}
		if err := json.Unmarshal([]byte(w.next()), &e); err != nil {
			t.Fatal(err)
		}
		if e.Event != want || e.Time.IsZero() || e.Host.Hostname != "pizero2" || len(e.Host.Services) != 2 {
			t.Errorf("event %+v, want a %s of pizero2", e, want)
		}
		r.stop()
	}
	if code := w.stop(); code != exitOK {
		t.Errorf("status %d, want %d", code, exitOK)
	}
}

func TestWatchNobody(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	code := run(ctx, []string{"--cache", newLaptop(t).cache, "sweep", "--watch", "--every", "10ms", "--wait", "20ms", "--to", freePort(t)},
		strings.NewReader(""), io.Discard, &errs)
	if code != exitFail || errs.String() != fmt.Sprintf("udpsrv: %v\n", errNothing) {
		t.Errorf("status %d, stderr %q", code, &errs)
	}
}
