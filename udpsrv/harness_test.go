package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// TestMain runs more tests side by side than there are processors: most of them wait for the network.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "udpsrv") // for keys of runs without --keys
	if err == nil {
		err = os.Setenv("XDG_CONFIG_HOME", dir)
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // what is left harms nobody
		os.Exit(code)
	}))
}

// patience bounds every wait of a test for what takes milliseconds.
const patience = time.Minute

// laptop runs udpsrv with a cache of its own.
type laptop struct {
	t     testing.TB
	cache string
	keys  string
	stdin string
}

func newLaptop(t testing.TB) *laptop {
	t.Helper()
	return &laptop{t: t, keys: filepath.Join(t.TempDir(), "keys"), cache: filepath.Join(t.TempDir(), "cache", "hosts.json")}
}

// run runs a command and returns what it printed and its exit status.
func (l *laptop) run(args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{"--cache", l.cache, "--keys", l.keys}, args...), strings.NewReader(l.stdin), &out, &errs)
	if ctx.Err() != nil {
		l.t.Errorf("udpsrv %q did not end within %s", args, patience)
	}
	return out.String(), errs.String(), code
}

// want runs a command and fails unless it ends with the status; it returns stdout and stderr.
func (l *laptop) want(code int, args ...string) (stdout, stderr string) {
	l.t.Helper()
	stdout, stderr, got := l.run(args...)
	if got != code {
		l.t.Fatalf("udpsrv %q: status %d, want %d\nstdout: %s\nstderr: %s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

// responder is a host on loopback that answers sweeps.
type responder struct {
	*discover.Responder
	addr string // host:port
	stop func()
}

// boot starts a responder that says h. publish, if not nil, is given each request that a monitor would publish.
func boot(t testing.TB, h discover.Host, publish func(reports.Request)) *responder {
	t.Helper()
	conn, err := discover.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	guard, err := discover.NewGuard(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	passes, err := discover.LoadPasses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	conf := discover.ResponderConfig{Conn: conn, Legacy: true, Open: true, Guard: guard, Passes: passes}
	conf.Publish = func(r reports.Request, _ netip.AddrPort, _ bool) {
		if publish != nil {
			publish(r)
		}
	}
	r, err := discover.NewResponder(conf)
	if err != nil {
		t.Fatal(err)
	}
	r.Update(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("responder: %v", err)
		}
	})
	t.Cleanup(stop)
	return &responder{r, addr, stop}
}

// hostNamed returns a host with an id made of one byte.
func hostNamed(name string, id byte, brokers ...string) discover.Host {
	return discover.Host{ID: discover.ID{id, 1, 2, 3, 4, 5, 6, 7}, Hostname: name, Brokers: brokers, Services: []discover.Service{
		{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 3},
		{Name: "hostsensor", Function: "hostsensor", Status: reports.Offline, Points: 21, Simulated: true},
	}}
}

// gpioService is the description of the fake service.
func gpioService() reports.Service {
	return reports.Service{Name: "gpio", Function: "gpio", Points: []reports.Point{
		{Path: "output/pump", Type: reports.Bool, Access: reports.Get | reports.Set, Args: []string{"for"}},
		{Path: "output/level", Type: reports.Float, Access: reports.Get | reports.Set, Unit: "%", Min: reports.Ptr(-10), Max: reports.Ptr(100)},
		{Path: "output/map", Type: reports.JSON, Access: reports.Get | reports.Set},
		{Path: "input/door", Type: reports.Bool, Access: reports.Get},
	}}.On("pizero2")
}

// fakeService is a service of the host pizero2 made of a bus.Client: retained words, and an answer to each command.
type fakeService struct {
	*bus.Client
	topics  reports.Topics
	noReply bool                 // answer on the result topic only
	heard   chan reports.Command // each command that came
	payload chan string          // and its payload
	answer  func(reports.Command) reports.Result
}

// serve starts the fake service on a broker. A nil answer leaves commands without one.
func serve(t *testing.T, url string, answer func(reports.Command) reports.Result) *fakeService {
	t.Helper()
	s := &fakeService{Client: bustest.Dial(t, url), topics: reports.Topics{Host: "pizero2", Service: "gpio"},
		heard: make(chan reports.Command, 16), payload: make(chan string, 16), answer: answer}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Subscribe(ctx, 1, s.receive, s.topics.Filters()...); err != nil {
		t.Fatal(err)
	}
	description, err := json.Marshal(gpioService())
	if err != nil {
		t.Fatal(err)
	}
	for topic, payload := range map[string][]byte{s.topics.To("description"): description,
		s.topics.To("status"): []byte("online"), reports.HostStatus("pizero2"): []byte("online")} {
		if err := s.Publish(ctx, bus.Message{Topic: topic, Payload: payload, QoS: 1, Retained: true}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *fakeService) receive(m bus.Message) {
	verb, path, ok := s.topics.Parse(m.Topic)
	if !ok {
		return
	}
	c, err := reports.ParseCommand(verb, path, m.Payload)
	s.heard <- c
	s.payload <- string(m.Payload)
	if s.answer == nil {
		return
	}
	r := reports.Failed(c, err0(err))
	if err == nil {
		r = s.answer(c)
	}
	payload, _ := json.Marshal(r) // what the tests answer always marshals
	s.Send(bus.Message{Topic: s.topics.To("result"), Payload: payload, QoS: 1})
	if c.Reply != "" && !s.noReply {
		s.Send(bus.Message{Topic: c.Reply, Payload: payload, QoS: 1})
	}
}

func err0(err error) error {
	if err == nil {
		return &reports.Error{Text: "none"}
	}
	return err
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
