package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// linkedAgent is what an agent with an input's on_change topic and an output's failsafe does: it publishes what is put on a topic
// of its choice, hears another topic, and is told whether there is a broker.
type linkedAgent struct {
	*fakeAgent
	link Link
	err  error // why it stopped giving events

	mu    sync.Mutex
	heard []string // topic=payload, and up and down
	stop  func()   // of the subscription
	news  chan struct{}
}

// linkedFactory makes linkedAgents, and hands each over.
func linkedFactory(made chan<- *linkedAgent) Factory {
	f := fakeFactory(nil)
	f.New = func(_ Options, d Deps) (Agent, error) {
		a := &linkedAgent{fakeAgent: newFake(), link: d.Link, news: make(chan struct{}, 1)}
		a.link.Watch(func(up bool) {
			word := "down"
			if up {
				word = "up"
			}
			a.hear(fmt.Sprint(word, a.link.Up() == up))
		})
		if err := a.watch("/client/status"); err != nil {
			return nil, err
		}
		made <- a
		return a, nil
	}
	return f
}

// watch subscribes to another topic instead of the present one.
func (a *linkedAgent) watch(topic string) error {
	stop, err := a.link.Subscribe(topic, func(payload []byte) { a.hear(topic + "=" + string(payload)) })
	if err != nil {
		return err
	}
	if a.stop != nil {
		a.stop()
		a.stop() // does nothing
	}
	a.stop = stop
	return nil
}

func (a *linkedAgent) hear(what string) {
	a.mu.Lock()
	a.heard = append(a.heard, what)
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// Setup takes the topic to watch.
func (a *linkedAgent) Setup(_ context.Context, doc []byte) error { return a.watch(string(doc)) }

// Err says why the agent gives no events any more.
func (a *linkedAgent) Err() error { return a.err }

// want waits until the agent has heard what is wanted and nothing else, and forgets it.
func (a *linkedAgent) want(t *testing.T, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		a.mu.Lock()
		got := slices.Clone(a.heard)
		if len(got) >= len(want) {
			a.heard = nil
			a.mu.Unlock()
			if !slices.Equal(got, want) {
				t.Fatalf("heard %q, want %q", got, want)
			}
			return
		}
		a.mu.Unlock()
		select {
		case <-a.news:
		case <-ctx.Done():
			t.Fatalf("heard %q within %v, want %q", got, patience, want)
		}
	}
}

// TestLink takes an agent through all that happens to its link: there is no broker yet, the broker comes, goes with all that it
// had and comes again, the agent is set up anew, and made anew.
func TestLink(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	b.Stop()
	made := make(chan *linkedAgent, 10)
	startRunner(t, RunnerConfig{Config: parse(t, b.URL(), t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{linkedFactory(made)}})
	a := <-made
	a.want(t, "downtrue")
	if err := a.link.Publish("/door", []byte("early")); !errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Publish without a broker = %v", err)
	}
	for round := range 2 {
		b.Start()
		a.want(t, "uptrue")
		w := newWatch(t, b.URL())
		w.wantLast("/h/s/status", "online")
		w.publish("/client/status", "1", true)
		a.want(t, "/client/status=1")
		edge := fmt.Sprint("edge ", round)
		if err := a.link.Publish("/door", []byte(edge)); err != nil {
			t.Fatal(err)
		}
		w.wantLast("/door", edge)
		w.mu.Lock()
		for _, m := range w.all {
			if m.Topic == "/door" && (string(m.Payload) != edge || m.Retained || m.QoS != 1) {
				t.Errorf("message %+v, want %s alone, at QoS 1, not retained", m, edge)
			}
		}
		w.mu.Unlock()
		if round == 1 {
			break
		}
		b.Stop()
		a.want(t, "downtrue")
		if err := a.link.Publish("/door", []byte("meanwhile")); !errors.Is(err, bus.ErrNotConnected) {
			t.Errorf("Publish without a broker = %v", err)
		}
	}

	w := newWatch(t, b.URL())
	w.publish("/elsewhere/status", "kept", true)
	w.wantLast("/elsewhere/status", "kept") // or it would come live, and retained as well
	w.publish("/h/s/setup", `{"value":"/elsewhere/status","id":1}`, false)
	if r := w.result("/h/s/result", "1"); !r.OK {
		t.Fatalf("setup: %+v", r)
	}
	a.want(t, "/elsewhere/status=kept")
	w.publish("/client/status", "2", false)
	w.publish("/elsewhere/status", "2", false)
	a.want(t, "/elsewhere/status=2")
	w.publish("/h/s/setup", `{"value":"/elsewhere/#","id":2}`, false)
	if r := w.result("/h/s/result", "2"); r.OK || !strings.Contains(r.Error, "wildcard") {
		t.Fatalf("setup with a wildcard: %+v", r)
	}

	_ = a.Close() // as if it had failed: its events end
	next := <-made
	next.want(t, "uptrue", "/client/status=1")
	w.wantLast("/h/s/status", "online")
	w.publish("/elsewhere/status", "3", false)
	w.publish("/client/status", "3", false)
	next.want(t, "/client/status=3")
	a.want(t)
	if err := a.link.Publish("/door", nil); err == nil || a.link.Up() {
		t.Errorf("Publish of a closed agent = %v, Up = %v", err, a.link.Up())
	}
	if _, err := a.link.Subscribe("/a", func([]byte) {}); err == nil {
		t.Error("Subscribe of a closed agent succeeds")
	}
	a.link.Watch(func(bool) { t.Error("the watch of a closed agent is called") })()
}
