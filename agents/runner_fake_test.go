package agents

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// TestMain lets eight tests run side by side where nobody says how many: most of the time they wait, for upsd or for a poll.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// fakeOptions are the options of the fake kind.
type fakeOptions struct {
	Gain float64 `yaml:"gain" doc:"does nothing"`
}

// Validate refuses a negative gain.
func (o *fakeOptions) Validate() error {
	if o.Gain < 0 {
		return config.At("gain", "%v is negative", o.Gain)
	}
	return nil
}

// fakeAgent is hardware made of a map and of hooks that take the place of a method.
type fakeAgent struct {
	mu     sync.Mutex
	points []reports.Point
	values map[string]any
	closed int
	doc    []byte
	events chan reports.Reading

	onSample func(ctx context.Context, path string) (reports.Reading, error)
	onApply  func(ctx context.Context, c reports.Command) (reports.Reading, error)
	onSetup  func(ctx context.Context, doc []byte) error
	onClose  func() error
}

// fakePoints are one point of each type, as the property test needs them.
func fakePoints() []reports.Point {
	rw := reports.Get | reports.Set
	return []reports.Point{
		{Path: "relay", Type: reports.Bool, Access: rw, Args: []string{"for"}},
		{Path: "level", Type: reports.Int, Access: rw, Min: reports.Ptr(0), Max: reports.Ptr(10)},
		{Path: "room/temp", Type: reports.Float, Access: reports.Get, Unit: "°C", Poll: reports.Duration(time.Second)},
		{Path: "room/mode", Type: reports.Enum, Access: rw, Options: []string{"eco", "boost"}},
		{Path: "button", Type: reports.Bool, Access: reports.Event},
	}
}

func newFake() *fakeAgent {
	return &fakeAgent{points: fakePoints(), doc: []byte("a: 1\n"),
		values: map[string]any{"relay": false, "level": int64(1), "room/temp": 20.0, "room/mode": "eco"}}
}

func (a *fakeAgent) Describe() reports.Service {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.events == nil { // not earlier: a channel belongs to the bubble that it was made in
		a.events = make(chan reports.Reading, 8)
	}
	return reports.Service{Function: "fake", Points: slices.Clone(a.points)}
}

func (a *fakeAgent) Close() error {
	a.mu.Lock()
	first := a.closed == 0
	a.closed++
	a.mu.Unlock()
	if first && a.events != nil {
		close(a.events)
	}
	if a.onClose != nil {
		return a.onClose()
	}
	return nil
}

func (a *fakeAgent) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if a.onSample != nil {
		return a.onSample(ctx, path)
	}
	return a.read(path)
}

func (a *fakeAgent) read(path string) (reports.Reading, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.values[path]
	if !ok {
		return reports.Reading{}, errors.New("no such register")
	}
	return reports.Reading{Path: path, Value: v, Time: time.Now()}, nil
}

func (a *fakeAgent) Apply(ctx context.Context, c reports.Command) (reports.Reading, error) {
	if a.onApply != nil {
		return a.onApply(ctx, c)
	}
	if c.Verb == "control" {
		return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "the fake knows no verbs")
	}
	a.put(c.Path, c.Value)
	return a.read(c.Path)
}

func (a *fakeAgent) put(path string, v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.values[path] = v
}

func (a *fakeAgent) Events() <-chan reports.Reading { return a.events }

func (a *fakeAgent) Setup(ctx context.Context, doc []byte) error {
	if a.onSetup != nil {
		return a.onSetup(ctx, doc)
	}
	a.doc = slices.Clone(doc)
	return nil
}

func (a *fakeAgent) CurrentSetup() ([]byte, error) { return a.doc, nil }

// The parts of a fakeAgent that a test may leave out or add.
type (
	onlyAgent   struct{ Agent }        // describes itself and no more
	onlySampler struct{ a *fakeAgent } // reads, and takes nothing
	batchAgent  struct {
		*fakeAgent
		calls atomic.Int64
		most  [][]string
	} // reads many at once
)

func (o onlySampler) Describe() reports.Service { return o.a.Describe() }
func (o onlySampler) Close() error              { return o.a.Close() }
func (o onlySampler) Sample(ctx context.Context, path string) (reports.Reading, error) {
	return o.a.Sample(ctx, path)
}

// SampleAll reads all that is there, and names what is not.
func (b *batchAgent) SampleAll(ctx context.Context, paths []string) (out []reports.Reading, err error) {
	b.calls.Add(1)
	b.mu.Lock()
	b.most = append(b.most, paths)
	b.mu.Unlock()
	for _, p := range paths {
		r, e := b.fakeAgent.Sample(ctx, p)
		if err = errors.Join(err, e); e == nil {
			out = append(out, r)
		}
	}
	return out, err
}

// fakeFactory makes what make returns.
func fakeFactory(make func() (Agent, error)) Factory {
	return Factory{Name: "fake", Doc: "Fakes.", Defaults: func() Options { return &fakeOptions{Gain: 1} },
		New: func(Options, Deps) (Agent, error) { return make() }}
}

// recorder is an outlet that remembers: what is retained, and what was sent.
type recorder struct {
	mu       sync.Mutex
	retained map[string]string
	log      []bus.Message
}

func (r *recorder) Keep(m bus.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retained[m.Topic] = string(m.Payload); len(m.Payload) == 0 {
		delete(r.retained, m.Topic)
	}
	r.log = append(r.log, m)
}

func (r *recorder) Send(m bus.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, m)
}

// state returns what is retained on the topic.
func (r *recorder) state(topic string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retained[topic]
}

// sent returns the payloads that went to the topic, and forgets them.
func (r *recorder) sent(topic string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	r.log = slices.DeleteFunc(r.log, func(m bus.Message) bool {
		if m.Topic == topic {
			out = append(out, string(m.Payload))
		}
		return m.Topic == topic
	})
	return out
}

// results returns the results that were sent, and forgets them.
func (r *recorder) results(t *testing.T) []reports.Result {
	t.Helper()
	var out []reports.Result
	for _, p := range r.sent("/h/s/result") {
		var res reports.Result
		if err := json.Unmarshal([]byte(p), &res); err != nil {
			t.Fatalf("result %s: %v", p, err)
		}
		out = append(out, res)
	}
	return out
}

// bench is a service without a broker, in a bubble of its own time.
type bench struct {
	*testing.T
	*service
	*recorder
	cancel context.CancelFunc
	done   chan struct{}
}

// inBubble runs a test of the loop under synctest: a service h/s of the agents that make returns one after the other.
func inBubble(t *testing.T, points map[string]config.Filter, make func() (Agent, error), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, points, make)
		synctest.Wait()
		test(b)
		b.stop()
	})
}

func newBench(t *testing.T, points map[string]config.Filter, makeAgent func() (Agent, error)) *bench {
	b := unstarted(t, points, makeAgent)
	b.start()
	return b
}

func unstarted(t *testing.T, points map[string]config.Filter, makeAgent func() (Agent, error)) *bench {
	e := entry{name: "s", kind: "fake", factory: fakeFactory(makeAgent), options: &fakeOptions{}, points: points}
	b := &bench{T: t, service: newService(e, "h", time.Now(), slog.New(slog.DiscardHandler)),
		recorder: &recorder{retained: map[string]string{}}, done: make(chan struct{})}
	b.out = b.recorder
	b.schedule = newSchedule(time.Now(), func() float64 { return 1 })
	return b
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(b.Context())
	b.cancel = cancel
	go func() { defer close(b.done); b.loop(ctx) }() // stop waits for it
}

func (b *bench) stop() {
	b.cancel()
	<-b.done
}

// after lets the time pass.
func (b *bench) after(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// do sends a command and lets the service get to it.
func (b *bench) do(tail, payload string) {
	b.receive(bus.Message{Topic: "/h/s/" + tail, Payload: []byte(payload)})
	synctest.Wait()
}

// wantState fails the test unless the topic of the tail is retained with the payload.
func (b *bench) wantState(tail, want string) {
	b.Helper()
	if got := b.state("/h/s/" + tail); got != want {
		b.Errorf("state %s = %q, want %q", tail, got, want)
	}
}

// wantCodes fails the test unless the results sent since the last call have the codes, in any order; "" is a success.
func (b *bench) wantCodes(want ...string) []reports.Result {
	b.Helper()
	results := b.results(b.T)
	got := map[string]int{}
	for _, r := range results {
		if (r.Code == "") != r.OK {
			b.Errorf("result %+v: code and ok contradict each other", r)
		}
		got[r.Code]++
	}
	count := map[string]int{}
	for _, c := range want {
		count[c]++
	}
	if !maps.Equal(got, count) {
		b.Errorf("codes of the results = %v, want %v; results: %+v", got, count, results)
	}
	return results
}
