package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// fakeWire is a connection of which the test says what the broker answers.
type fakeWire struct {
	offered []bus.Message
	down    bool
	subs    map[string]*fakeSub
}

type fakeSub struct {
	handler func(bus.Message)
	answer  func(error)
	stopped int
}

func (w *fakeWire) Offer(m bus.Message) error {
	if w.down {
		return bus.ErrNotConnected
	}
	w.offered = append(w.offered, m)
	return nil
}

func (w *fakeWire) Listen(filter string, handler func(bus.Message), answer func(error)) (func(), error) {
	s := &fakeSub{handler: handler, answer: answer}
	w.subs[filter] = s
	return func() { s.stopped++ }, nil
}

// inLinkBubble runs a test of a service whose agents have links to a fakeWire.
func inLinkBubble(t *testing.T, makeAgent func(Deps) (Agent, error), test func(b *bench, w *fakeWire)) {
	t.Helper()
	w := &fakeWire{subs: map[string]*fakeSub{}}
	synctest.Test(t, func(t *testing.T) {
		b := unstarted(t, nil, nil)
		b.entry.factory.New = func(_ Options, d Deps) (Agent, error) { return makeAgent(d) }
		b.links.client = w
		b.start()
		synctest.Wait()
		test(b, w)
		b.stop()
	})
}

// TestLinkFaults: a refused subscription and a panic of the agent's functions stand on the error topic, harm nothing else, and
// are gone with their cause or with the agent.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	var a *fakeAgent
	var link Link
	var stop func()
	boom := false
	inLinkBubble(t, func(d Deps) (Agent, error) {
		a, link = newFake(), d.Link
		var err error
		stop, err = link.Subscribe("/client/status", func(p []byte) {
			if boom {
				panic(fmt.Sprintf("boom %s", p))
			}
		})
		link.Watch(func(up bool) {
			if boom && up {
				panic("bang")
			}
		})
		return a, err
	}, func(b *bench, w *fakeWire) {
		const refusal = `subscribe: broker refused "/client/status"`
		sub := w.subs["/client/status"]
		sub.answer(errors.New(refusal))
		synctest.Wait()
		b.wantState("error", refusal)
		b.wantState("status", "online")
		b.do("setup", "b: 1")
		b.wantCodes("")
		b.wantState("error", refusal)
		sub.answer(nil)
		synctest.Wait()
		b.wantState("error", "")

		sub.answer(errors.New(refusal))
		stop()
		sub.answer(errors.New(refusal))
		synctest.Wait()
		b.wantState("error", "")
		if sub.stopped != 1 {
			t.Errorf("stopped %d times, want once", sub.stopped)
		}
		boom = true
		sub.handler(bus.Message{Payload: []byte("!")}) // it was stopped
		synctest.Wait()
		b.wantState("error", "")

		if _, err := link.Subscribe("/other", func([]byte) { panic("boom") }); err != nil {
			t.Fatal(err)
		}
		w.subs["/other"].handler(bus.Message{})
		b.links.set(true)
		synctest.Wait()
		if got := b.state("/h/s/error"); !strings.Contains(got, "watch of the connection: panic: bang") || !strings.Contains(got, "1 more") {
			t.Errorf("error = %q", got)
		}
		b.wantState("status", "online")
		boom = false
		_ = a.Close()
		b.after(2 * time.Second)
		b.wantState("error", "")
		b.wantState("status", "online")
		if w.subs["/other"].stopped != 1 {
			t.Error("the subscription of the agent that was made anew is left")
		}
	})
}

// TestLinkEndsWithItsAgent, however the agent ends: its watches and subscriptions are stopped.
func TestLinkEndsWithItsAgent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *bench, a *fakeAgent){
		"New fails":            nil,
		"events end":           func(_ *bench, a *fakeAgent) { _ = a.Close(); synctest.Wait() },
		"stop":                 func(b *bench, _ *fakeAgent) { b.stop() },
		"stop in vain":         func(b *bench, _ *fakeAgent) { b.do("set/relay", "ON"); b.stop() },
		"panic":                func(b *bench, _ *fakeAgent) { b.do("control", "panic") },
		"Close does not end":   func(b *bench, _ *fakeAgent) { b.do("control", "panic, then hang"); b.after(time.Minute) },
		"describes no service": func(b *bench, a *fakeAgent) { a.points = append(a.points, a.points[0]); b.do("setup", "b: 1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a *fakeAgent
			var first Link
			var hold chan struct{}
			calls := 0
			inLinkBubble(t, func(d Deps) (Agent, error) {
				if first != nil {
					return newFake(), nil
				}
				a, first = newFake(), d.Link
				hold = make(chan struct{})
				a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
					if c.Verb == "set" {
						<-hold
						return reports.Reading{}, nil
					}
					if strings.HasSuffix(string(c.Value.([]byte)), "hang") {
						a.onClose = func() error { <-hold; return nil }
					}
					panic("boom")
				}
				first.Watch(func(bool) { calls++ })
				if _, err := first.Subscribe("/topic", func([]byte) { calls++ }); err != nil {
					t.Error(err)
				}
				if end == nil {
					return nil, errors.New("no such chip")
				}
				return a, nil
			}, func(b *bench, w *fakeWire) {
				if end != nil {
					if err := first.Publish("/door", []byte("ON")); err != nil || len(w.offered) != 1 {
						t.Errorf("Publish = %v, %v", err, w.offered)
					}
					end(b, a)
				}
				calls = 0
				b.links.set(true)
				w.subs["/topic"].handler(bus.Message{})
				if calls != 0 || w.subs["/topic"].stopped != 1 || len(b.links.watches) != 0 {
					t.Errorf("%d calls after the end, stopped %d times, %d watches", calls, w.subs["/topic"].stopped, len(b.links.watches))
				}
				if err := first.Publish("/door", nil); reports.CodeOf(err) != reports.CodeOffline || len(w.offered) > 1 {
					t.Errorf("Publish = %v, %v", err, w.offered)
				}
				close(hold)
				synctest.Wait()
			})
		})
	}
}

// TestLinkCheck holds what an agent may not publish on, and says why.
func TestLinkCheck(t *testing.T) {
	t.Parallel()
	var link Link
	inLinkBubble(t, func(d Deps) (Agent, error) { link = d.Link; return newFake(), nil }, func(_ *bench, w *fakeWire) {
		for topic, why := range map[string]string{
			"/doors/front": "", "doors": "", "/other/status": "", "/other/gpio/set/output/lamp": "", "/h/s/door": "", "/h/s/room": "",
			"/h/doors/front": "", "/hh/status": "", "/h2": "", "/x/udp": "",
			"": "is empty", "/": "is empty", "/a/+": "wildcard", "#": "wildcard", "$SYS/x": "reserved to the broker", "/$x": "reserved",
			"/a\x00b": "control character", "/a\xff": "not UTF-8", strings.Repeat("a", 257): "at most 256",
			"/udp/report": "belongs to discovery", "udp/report": "belongs to discovery", "//udp/report": "belongs to discovery",
			"/h": "this host itself", "/h/status": "this host itself", "h/status": "this host itself",
			"/h/s/status": "service s says of itself", "/h/s/description": "service s says", "/h/other/result": "service other says", "h/s/error": "says of itself", "/h/s/log": "says of itself",
			"/h/s/set/relay": "commands of this host", "/h/other/get": "commands of this host", "/h/set/other/x": "commands of this host", "/set/s/relay": "commands of this host",
			"get/s": "commands of this host", "/h/s/control": "commands of this host", "/h/setup/s": "commands of this host", "/control/s": "commands of this host",
			"/h/s/relay": "the state of a point", "h/s/room/temp": "the state of a point",
		} {
			for _, err := range []error{link.Check(topic), link.Publish(topic, []byte("ON"))} {
				switch {
				case why == "" && err != nil:
					t.Errorf("%q is refused: %v", topic, err)
				case why != "" && (err == nil || !strings.Contains(err.Error(), why) || reports.CodeOf(err) != reports.CodeBadTopic):
					t.Errorf("%q = %v, want %q", topic, err, why)
				}
			}
			if published := slices.ContainsFunc(w.offered, func(m bus.Message) bool { return m.Topic == topic }); published != (why == "") {
				t.Errorf("%q was published: %v", topic, published)
			}
		}
		for topic, why := range map[string]string{"/h/s/door": "the state of a point", "h/s/relay": "", "/h/s/room/temp": "", "/h/s/status": "service s says", "/a/+": "wildcard"} {
			err := link.Check(topic, "door", "count/door") // of a set-up to come
			if (why == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), why) {
				t.Errorf("%q with other points = %v, want %q", topic, err, why)
			}
		}
		if err := link.Publish("/doors", make([]byte, maxMessage+1)); reports.CodeOf(err) != reports.CodeTooLarge {
			t.Errorf("Publish of too much = %v", err)
		}
		for topic, why := range map[string]string{
			"/client/status": "", "/h/other/status": "", "/h/s/relay": "", "/h/status": "",
			"": "is empty", "/a/#": "wildcard", "$SYS/x": "reserved", "/h/s/set/relay": "commands", "h/control/s": "commands", "/set/s": "commands",
		} {
			stop, err := link.Subscribe(topic, func([]byte) {})
			if why == "" && (err != nil || w.subs[topic] == nil) || why != "" && (err == nil || !strings.Contains(err.Error(), why) || w.subs[topic] != nil) {
				t.Errorf("Subscribe(%q) = %v, want %q", topic, err, why)
			}
			if err == nil {
				stop()
			}
		}
		w.down = true
		if err := link.Publish("/doors", nil); !errors.Is(err, bus.ErrNotConnected) {
			t.Errorf("Publish without a connection = %v", err)
		}
	})
}

// TestWatchTellsWhatIs although the connection changes while it is set up, and tells the same but once.
func TestWatchTellsWhatIs(t *testing.T) {
	t.Parallel()
	var link Link
	inLinkBubble(t, func(d Deps) (Agent, error) { link = d.Link; return newFake(), nil }, func(b *bench, _ *fakeWire) {
		var told []bool
		var stop func()
		link.Watch(func(up bool) {
			if up {
				stop() // while the second is about to be told
			}
		})
		stop = link.Watch(func(up bool) { told = append(told, up) })
		var all []bool
		link.Watch(func(up bool) { all = append(all, up) })
		for _, up := range []bool{false, false, true, true, false, true} {
			b.links.set(up)
			if link.Up() != up {
				t.Errorf("Up = %v, want %v", link.Up(), up)
			}
		}
		if want := []bool{false}; !slices.Equal(told, want) {
			t.Errorf("the stopped one was told %v, want %v", told, want)
		}
		if want := []bool{false, true, false, true}; !slices.Equal(all, want) {
			t.Errorf("told %v, want %v", all, want)
		}
	})
}
