package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// A host with authorized_operators answers nobody who has not signed, until legacy says otherwise: no byte and no message.
func TestClosedHost(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, tt := range map[string]struct {
		file          bool
		legacy        *bool
		open, answers bool
	}{
		"open":                         {false, nil, true, true},
		"open, original form off":      {false, &no, true, false},
		"closed":                       {true, nil, false, false},
		"closed, original form on":     {true, &yes, false, true},
		"closed, original form is off": {true, &no, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBed(t, func(c *config.Config) {
				c.Discovery.Legacy = tt.legacy
				if tt.file {
					write(t, c.Discovery.AuthorizedOperators, "")
				}
			})
			b.answers(tt.open, tt.answers)
			if got := len(b.log.having("host is open")); (got == 1) != tt.open {
				t.Errorf("log says %d times that the host is open", got)
			}
		})
	}
}

// answers checks who is answered.
func (b *bed) answers(open, legacy bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := bustest.Dial(b.t, b.m.at.url)
	got := make(chan bus.Message, 100)
	if err := watch.Subscribe(ctx, 1, func(m bus.Message) { got <- m }, reports.ReportTopic, "/end"); err != nil {
		b.t.Fatal(err)
	}
	before := b.m.responder.Stats()
	h := sweepOne(b.t, b.port, 150*time.Millisecond)
	if (h != nil) != open || (h != nil && !h.Open) {
		b.t.Errorf("sealed request: answer %+v, want one: %v", h, open)
	}
	id := fmt.Sprint(time.Now().UnixNano())
	ask(b.t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":"`+id+`"}`)
	want := 0
	if open {
		want++
	}
	if legacy {
		want++
	}
	eventually(b.t, "published and refused requests", true, func() bool {
		s := b.m.responder.Stats()
		refused := s["legacy_off"] > before["legacy_off"]
		return s["published"] == before["published"]+uint64(want) && (legacy || refused)
	})
	n := 0
	for range want {
		if next(b.t, got, "request").Topic == "/udp/report" {
			n++
		}
	}
	b.publish("/end", "")
	for next(b.t, got, "end").Topic != "/end" {
		n++
	}
	if n != want {
		b.t.Errorf("%d requests were published, want %d", n, want)
	}
}

// A key that takes another's place in the file, with the same name and rights, is another operator: it is answered, and what was learned
// of it as a stranger's forgotten.
func TestOperatorChangesKey(t *testing.T) {
	t.Parallel()
	was, wasLine := newOperator(t, "alice", "read")
	now, nowLine := newOperator(t, "alice", "read")
	b := operatorBed(t, wasLine)
	if b.sweptBy(now) != nil {
		t.Fatal("a stranger is answered")
	}
	write(t, b.cfg.Discovery.AuthorizedOperators, nowLine)
	b.tick(time.Minute)
	eventually(t, "lines about operators", 2, func() int { return len(b.log.having("unsigned requests are not answered")) })
	if b.sweptBy(now) == nil || b.sweptBy(was) != nil {
		t.Errorf("the key before is obeyed, or the one from now on not; outcomes: %v", b.m.responder.Stats())
	}
}

// The file of operators counts from the next minute on, without a signal.
func TestOperatorsComeAndGo(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.answers(true, true)
	file := write(t, b.cfg.Discovery.AuthorizedOperators, "")
	b.tick(time.Minute)
	eventually(t, "line about operators", 1, func() int { return len(b.log.having("unsigned requests are not answered")) })
	b.answers(false, false)
	remove(t, file)
	b.tick(time.Minute)
	eventually(t, "lines about the open host", 2, func() int { return len(b.log.having("host is open")) })
	b.answers(true, true)
	b.tick(time.Minute)
	b.tick(time.Minute)
	if got := len(b.log.having("host is open")); got != 2 {
		t.Errorf("log says %d times that the host is open, want once for each change", got)
	}
}
