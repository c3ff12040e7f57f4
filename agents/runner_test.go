package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// patience is how long a test waits for what takes milliseconds.
const patience = 30 * time.Second

// parse returns the configuration of host h with the broker and the agents.
func parse(t testing.TB, url, dir, agents string) config.Config {
	t.Helper()
	doc := fmt.Sprintf("host: h\nstate_dir: %s\nbroker: {url: %q}\nagents:\n%s", dir, url, agents)
	c, err := config.Parse("test.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startRunner runs a runner for the life of the test, and waits until it is ready.
func startRunner(t testing.TB, c RunnerConfig) *Runner {
	t.Helper()
	r := runRunner(t, c)
	select {
	case <-r.Ready():
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return r
}

// runRunner runs a runner for the life of the test.
func runRunner(t testing.TB, c RunnerConfig) *Runner {
	t.Helper()
	r, err := NewRunner(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// watch is a client that remembers everything that is published, the newest of each topic and all of it.
type watch struct {
	*bus.Client
	t    testing.TB
	mu   sync.Mutex
	last map[string]bus.Message
	all  []bus.Message
	news chan struct{}
}

func newWatch(t testing.TB, url string) *watch {
	t.Helper()
	w := &watch{Client: bustest.Dial(t, url), t: t, last: map[string]bus.Message{}, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Subscribe(ctx, 1, w.receive, "/#", "#"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watch) receive(m bus.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[m.Topic] = m
	w.all = append(w.all, m)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// until waits until cond, which is called with the lock held, is true.
func (w *watch) until(what string, cond func() bool) {
	w.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		w.mu.Lock()
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.news:
		case <-late.C:
			w.mu.Lock()
			defer w.mu.Unlock()
			var have []string
			for topic, m := range w.last {
				have = append(have, fmt.Sprintf("%s=%.60q", topic, m.Payload))
			}
			w.t.Fatalf("%s: still not so; there is %s", what, strings.Join(have, " "))
		}
	}
}

// wantLast waits until the newest payload of the topic is want.
func (w *watch) wantLast(topic, want string) {
	w.t.Helper()
	w.until(topic+" = "+want, func() bool { m, ok := w.last[topic]; return ok && string(m.Payload) == want })
}

// publish publishes and waits for the broker to have it.
func (w *watch) publish(topic, payload string, retained bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Publish(ctx, bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: retained}); err != nil {
		w.t.Fatal(err)
	}
}

// result waits for the result with the id and returns it.
func (w *watch) result(topic, id string) reports.Result {
	w.t.Helper()
	var r reports.Result
	w.until("result "+id, func() bool {
		for _, m := range w.all {
			if m.Topic == topic && strings.Contains(string(m.Payload), id) && json.Unmarshal(m.Payload, &r) == nil && string(r.ID) == id {
				return true
			}
		}
		return false
	})
	return r
}

// kinds returns factories of agents by name.
func kinds(makers map[string]func() (Agent, error)) []Factory {
	var out []Factory
	for name, make := range makers {
		f := fakeFactory(make)
		f.Name = name
		out = append(out, f)
	}
	return out
}

// TestGoodBesideBad runs agents that fail in every way beside one that works.
func TestGoodBesideBad(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	hold := make(chan struct{})
	hanging := newFake()
	hanging.onSample = func(context.Context, string) (reports.Reading, error) {
		<-hold
		return reports.Reading{}, errors.New("gone")
	}
	panicking := newFake()
	panicking.onSample = func(context.Context, string) (reports.Reading, error) { panic("boom") }
	r := runRunner(t, RunnerConfig{
		Config: parse(t, url, t.TempDir(), "  good: {}\n  hangs: {}\n  panics: {}\n  missing: {}\n  stuck: {}\n"),
		Factories: kinds(map[string]func() (Agent, error){
			"good": same(newFake()), "hangs": same(hanging), "panics": same(panicking),
			"missing": func() (Agent, error) { return nil, errors.New("no such chip") },
			"stuck":   func() (Agent, error) { <-hold; return nil, errors.New("gone") },
		}),
	})
	t.Cleanup(func() { close(hold) }) // before the runner is stopped
	w.wantLast("/h/good/status", "online")
	w.wantLast("/h/good/relay", "OFF")
	w.wantLast("/h/missing/status", "offline")
	w.wantLast("/h/missing/error", "start: no such chip")
	w.until("panics says so", func() bool { return strings.Contains(string(w.last["/h/panics/error"].Payload), "panic: boom") })
	w.publish("/h/good/set/relay", `{"value":"ON","id":1}`, false)
	if res := w.result("/h/good/result", "1"); !res.OK {
		t.Errorf("set of the good agent = %+v", res)
	}
	w.wantLast("/h/good/relay", "ON")
	w.publish("/h/missing/set/relay", `{"value":"ON","id":2}`, false)
	if res := w.result("/h/missing/result", "2"); res.Code != reports.CodeOffline {
		t.Errorf("set of an agent that is not there = %+v", res)
	}
	if err := r.Healthy(); err != nil {
		t.Errorf("Healthy = %v beside agents that hang", err)
	}
	if n := len(r.Services()); n != 5 {
		t.Errorf("%d services, want 5", n)
	}
}

// TestBrokerComesAndGoes starts without a broker, gets one, loses it with all that it had, and gets it again.
func TestBrokerComesAndGoes(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	b.Stop()
	a := newFake()
	startRunner(t, RunnerConfig{Config: parse(t, b.URL(), t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{fakeFactory(same(a))}})
	for round := range 2 {
		b.Start()
		w := newWatch(t, b.URL())
		w.wantLast("/h/s/status", "online")
		w.wantLast("/h/s/level", reports.FormatValue(round+1))
		w.until("the description", func() bool { return len(w.last["/h/s/description"].Payload) > 0 })
		id := fmt.Sprint(round)
		w.publish("h/set/s/level", `{"value":`+reports.FormatValue(round+2)+`,"id":`+id+`}`, false)
		if res := w.result("/h/s/result", id); !res.OK {
			t.Fatalf("round %d: %+v", round, res)
		}
		w.wantLast("/h/s/level", reports.FormatValue(round+2))
		b.Stop()
	}
}

// TestRetainedLeftoversOfAnEarlierRun starts beside a ghost of a command and the description of points that are gone.
func TestRetainedLeftoversOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	w.publish("/h/s/description", `{"name":"s","function":"fake","points":[{"path":"old/pump","type":"bool","access":["get"]}]}`, true)
	w.publish("/h/s/old/pump", "ON", true)
	w.publish("/h/s/error", "it burns", true)
	w.publish("/h/s/set/relay", `{"value":"ON","id":"ghost"}`, true)
	a := newFake()
	startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{fakeFactory(same(a))}})
	if r := w.result("/h/s/result", `"ghost"`); r.Code != reports.CodeRetained {
		t.Errorf("result = %+v", r)
	}
	w.wantLast("/h/s/relay", "OFF")
	w.wantLast("/h/s/old/pump", "")
	w.wantLast("/h/s/error", "")
	fresh := newWatch(t, url)
	fresh.wantLast("/h/s/status", "online")
	fresh.mu.Lock()
	defer fresh.mu.Unlock()
	for topic, m := range fresh.last {
		if !m.Retained && strings.HasPrefix(topic, "/h/s/") || topic == "/h/s/old/pump" || topic == "/h/s/button" {
			t.Errorf("%s = %q, retained %v", topic, m.Payload, m.Retained)
		}
	}
}

func TestStopPublishesOffline(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	a := newFake()
	t.Run("run", func(t *testing.T) { // its cleanup stops the runner
		startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{fakeFactory(same(a))}})
		w.wantLast("/h/s/status", "online")
	})
	w.wantLast("/h/s/status", "offline")
	if a.closed != 1 {
		t.Errorf("the agent was closed %d times, want once", a.closed)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	w := newWatch(t, url)
	var mu sync.Mutex
	made := map[string]int{}
	f := fakeFactory(nil)
	f.New = func(_ Options, d Deps) (Agent, error) {
		mu.Lock()
		defer mu.Unlock()
		made[d.Service]++
		return newFake(), nil
	}
	want := func(counts map[string]int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		for name, n := range counts {
			if made[name] != n {
				t.Errorf("%s was made %d times, want %d", name, made[name], n)
			}
		}
	}
	r := startRunner(t, RunnerConfig{Factories: []Factory{f},
		Config: parse(t, url, dir, "  keep: {agent: fake, gain: 2}\n  change: {agent: fake}\n  drop: {agent: fake}\n")})
	w.wantLast("/h/drop/relay", "OFF")
	w.wantLast("/h/keep/status", "online")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	if err := r.Reload(ctx, parse(t, url, dir, "  keep: {agent: fake, gian: 2}\n")); err == nil || !strings.Contains(err.Error(), "test.yaml:5") {
		t.Errorf("Reload of a bad file = %v, want it refused at its line", err)
	}
	want(map[string]int{"keep": 1, "change": 1, "drop": 1})

	if err := r.Reload(ctx, parse(t, url, dir, "  # a comment\n  new: {agent: fake}\n  change: {agent: fake, points: {relay: {poll: 1s}}}\n  keep: {gain: 2, agent: fake}\n")); err != nil {
		t.Fatal(err)
	}
	w.wantLast("/h/new/status", "online")
	w.wantLast("/h/change/status", "online")
	w.wantLast("/h/drop/status", "offline")
	w.wantLast("/h/drop/description", "")
	w.wantLast("/h/drop/relay", "")
	want(map[string]int{"keep": 1, "change": 2, "drop": 1, "new": 1})
	other := bustest.Start(t)
	w2 := newWatch(t, other)
	if err := r.Reload(ctx, parse(t, other, dir, "  keep: {agent: fake, gain: 2}\n")); err != nil {
		t.Fatal(err)
	}
	w2.wantLast("/h/keep/status", "online")
	w.wantLast("/h/keep/status", "offline")
	want(map[string]int{"keep": 2})
}

func TestNewRunnerRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	noFile := filepath.Join(dir, "no-such-file")
	tests := []struct {
		name, agents, want string
		only               []string
		broker             string
	}{
		{"an unknown kind", "  gpoi: {}\n", `test.yaml:5: agents.gpoi`, nil, ""},
		{"with a suggestion", "  relay: {agent: fkae}\n", `did you mean "fake"?`, nil, ""},
		{"an unknown option", "  s: {agent: fake, gian: 1}\n", `test.yaml:5: agents.s`, nil, ""},
		{"a wrong type", "  s:\n    agent: fake\n    gain: much\n", `test.yaml:7: agents.s.gain`, nil, ""},
		{"an option that is not valid", "  s: {agent: fake, gain: -1}\n", `test.yaml:5: agents.s.gain: -1 is negative`, nil, ""},
		{"also of those that are left out", "  s: {agent: fake, gain: -1}\n  x: {agent: fake}\n", `test.yaml:5: agents.s.gain`, []string{"x"}, ""},
		{"an agent that is not there", "  s: {agent: fake}\n", `no agent "t" is configured; did you mean "s"?`, []string{"t"}, ""},
		{"a slip in --only", "  pump: {agent: fake}\n", `did you mean "pump"?`, []string{"pmup"}, ""},
		{"no password", "  s: {agent: fake}\n", `no-such-file`, nil, "tcp://127.0.0.1:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conf := parse(t, "tcp://127.0.0.1:1", dir, tt.agents)
			if tt.broker != "" {
				conf.Broker = config.Broker{URL: tt.broker, Username: "u", PasswordFile: noFile}
			}
			_, err := NewRunner(RunnerConfig{File: "test.yaml", Config: conf, Only: tt.only,
				Factories: []Factory{fakeFactory(func() (Agent, error) { t.Error("something was started"); return newFake(), nil })}})
			if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewRunner = %T %v, want a *config.Error with %q", err, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
		})
	}
}

func TestBrokerOf(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in             config.Broker
		url, user, pwd string
	}{
		{config.Broker{Listen: "0.0.0.0:1884"}, "tcp://127.0.0.1:1884", "", ""},
		{config.Broker{Listen: ":1884"}, "tcp://127.0.0.1:1884", "", ""},
		{config.Broker{Listen: "[::]:1884"}, "tcp://127.0.0.1:1884", "", ""},
		{config.Broker{Listen: "10.1.2.3:1884"}, "tcp://10.1.2.3:1884", "", ""},
		{config.Broker{URL: "tcp://b:1", Username: "u", PasswordFile: file}, "tcp://b:1", "u", "secret"},
	} {
		got, err := brokerOf(tt.in)
		if err != nil || got.URL != tt.url || got.Username != tt.user || got.Password != tt.pwd {
			t.Errorf("brokerOf(%+v) = %q %q %q, %v, want %q %q %q", tt.in, got.URL, got.Username, got.Password, err, tt.url, tt.user, tt.pwd)
		}
	}
}

// TestEveryCommandHasOneResult sends random commands of every kind over a real broker and counts the answers.
func TestEveryCommandHasOneResult(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	var mu sync.Mutex
	var trouble string
	apply := func(_ context.Context, c reports.Command) (reports.Reading, error) {
		mu.Lock()
		defer mu.Unlock()
		switch trouble {
		case "error":
			return reports.Reading{}, errors.New("welded")
		case "panic":
			trouble = ""
			panic("boom")
		}
		return reports.Reading{Path: c.Path, Value: c.Value}, nil
	}
	startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), "  s: {agent: fake}\n"),
		Factories: []Factory{fakeFactory(func() (Agent, error) {
			f := newFake()
			f.onApply = apply
			return f, nil
		})}})
	w.wantLast("/h/s/status", "online")
	tails := rapid.SampledFrom([]string{"/h/s/set/relay", "h/s/set/level", "/h/set/s/room/mode", "set/s/nothing", "/h/s/get", "/h/get/s/room",
		"/get/s/button", "/h/s/control", "h/setup/s", "/h/s/set/room/temp", "/h/s/get/setup", "/h/s/get/description"})
	payloads := rapid.OneOf(rapid.SampledFrom([]string{"", "ON", "TOGGLE", "3", "eco", `{"value":"ON"}`, `{"value":5,"reply":"/me"}`, `{"verb":"refresh"}`,
		`{"verb":"poll","value":"1h"}`, `{"id":[]}`, `{"value":1,"for":2}`, "\xff\x00", "{", strings.Repeat("[", 70000)}), rapid.String())
	commands, ends := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		mu.Lock()
		trouble = rapid.SampledFrom([]string{"", "", "error", "panic"}).Draw(rt, "trouble")
		mu.Unlock()
		for range rapid.IntRange(1, 40).Draw(rt, "n") {
			w.publish(tails.Draw(rt, "topic"), payloads.Draw(rt, "payload"), false)
			commands++
		}
		ends++
		commands++
		id := fmt.Sprintf(`"end%d"`, ends)
		w.publish("/h/s/get/description", `{"id":`+id+`}`, false) // commands are answered in order, unless the queue is full
		w.result("/h/s/result", id)
		results := 0
		w.until("all results", func() bool {
			results = 0
			for _, m := range w.all {
				if m.Topic == "/h/s/result" {
					results++
				}
			}
			return results >= commands
		})
		if results != commands { // an extra one is found in the next round at the latest
			rt.Fatalf("%d results for %d commands", results, commands)
		}
	})
}
