package agents

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// pacedAgent needs its rest.
type pacedAgent struct{ *fakeAgent }

// LeastPoll is longer for what is in the room than for anything else.
func (pacedAgent) LeastPoll(path string) time.Duration {
	if strings.HasPrefix(path, "room/") {
		return 2 * time.Second
	}
	return 0
}

// A poll below what an agent can do is raised where the configuration asks for it, and refused where a command does, whole.
func TestLeastPoll(t *testing.T) {
	t.Parallel()
	points := map[string]config.Filter{"room/mode": {Poll: ptr(500 * time.Millisecond)}, "level": {Poll: ptr(500 * time.Millisecond)}, "room/temp": {Poll: ptr(100 * time.Millisecond)}}
	var log bytes.Buffer
	a := newFake()
	inBubble(t, points, same(pacedAgent{a}), func(b *bench) {
		poll := func(path string) time.Duration {
			p, _ := b.described.Load().Point(path)
			return time.Duration(p.Poll)
		}
		want := func(paths map[string]time.Duration) {
			b.Helper()
			for path, d := range paths {
				if got := poll(path); got != d {
					b.Errorf("%s is polled every %s, want %s", path, got, d)
				}
			}
		}
		// Its own poll, of 1 s, the point may have.
		want(map[string]time.Duration{"room/mode": 2 * time.Second, "level": 500 * time.Millisecond, "room/temp": time.Second})
		b.do("control", `{"verb":"poll","path":"room/mode","value":"1999ms"}`)
		if r := b.wantCodes(reports.CodeOutOfRange); !strings.Contains(r[0].Error, "1.999s is less than 2s, the least that room/mode can be polled at") {
			b.Errorf("error %q", r[0].Error)
		}
		b.do("control", `{"verb":"poll","path":"","value":"1500ms"}`)
		b.wantCodes(reports.CodeOutOfRange)
		want(map[string]time.Duration{"room/mode": 2 * time.Second, "level": 500 * time.Millisecond, "room/temp": time.Second})
		b.do("control", `{"verb":"poll","path":"level","value":"10ms"}`)
		b.do("control", `{"verb":"poll","path":"room/mode","value":"0s"}`)
		b.do("control", `{"verb":"poll","path":"room/temp","value":"1s"}`)
		b.wantCodes("", "", "")
		want(map[string]time.Duration{"room/mode": 0, "level": 10 * time.Millisecond, "room/temp": time.Second})
	})
	s := unstarted(t, points, nil)
	s.service.log = slog.New(slog.NewTextHandler(&log, nil))
	s.inst = &instance{agent: pacedAgent{a}}
	s.filterFor(reports.Point{Path: "room/mode", Type: reports.String, Access: reports.Get}, time.Now())
	if got := log.String(); !strings.Contains(got, "too short") || !strings.Contains(got, "point=room/mode poll=500ms raised_to=2s") {
		t.Errorf("log %q", got)
	}
}

// What an agent's least poll is follows from its options.
func TestLeastPollOfAgents(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]time.Duration{"": 6250 * time.Millisecond, "timeout: 10s": 12500 * time.Millisecond, "timeout: 100ms": time.Second, "poll: 1s": time.Second} {
		a, err := iioStart(t, execFactory(), "command: [/bin/echo, 1]\noutput: value\nvalues: {a: {}}\n"+options+"\n", Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.(Paced).LeastPoll("a"); got != want {
			t.Errorf("exec with %q: %s, want %s", options, got, want)
		}
	}
	for model, want := range map[string]time.Duration{dht22Model22: 2 * time.Second, dht22Model11: time.Second} {
		o := dht22Options{Driver: dht22DriverEdges, Model: model}
		if got := dht22With(o, nilDHT22{}, time.Now).LeastPoll("temperature"); got != want {
			t.Errorf("%s: %s, want %s", model, got, want)
		}
	}
}

// nilDHT22 is a sensor that is never read.
type nilDHT22 struct{}

func (nilDHT22) read(context.Context) (dht22Value, bool, error) { return dht22Value{}, false, nil }
func (nilDHT22) close() error                                   { return nil }

// A timeout that nobody names is one that the poll leaves.
func TestTimeoutByThePoll(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ agent, options, want string }{
		{"exec", "command: [/bin/echo]\nvalues: {a: {}}\npoll: 1s", ""},
		{"ping", "hosts: {a: {}}\npoll: 1s", ""},
		{"ping", "hosts: {a: {}}\npoll: 1s\ntimeout: 1s", "rollcall.yaml:5: agents.ping.timeout: 1s must be at most 800ms, four fifths of poll and no more than 10s"},
		{"exec", "command: [/bin/echo]\nvalues: {a: {}}\ntimeout: -1s", "rollcall.yaml:5: agents.exec.timeout: duration"},
	} {
		if _, err := check(t, tt.agent, tt.options); (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.options, err, tt.want)
		}
	}
}

// A run that is given less time than its timeout says which.
func TestExecCutShort(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := execRun(ctx, execOptions{Command: []string{"/bin/sleep", "60"}, Dir: "/", MaxOutput: 10, Poll: reports.Duration(time.Minute)})
	if err == nil || !strings.Contains(err.Error(), "after which nobody waits for it any more (timeout is 5s)") {
		t.Errorf("error %v", err)
	}
}
