package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// answersTop is what the fake service says its values are, since an hour.
func answersTop(c reports.Command) reports.Result {
	since := time.Now().Add(-time.Hour - 30*time.Second)
	return reports.Done(c, map[string]reports.Reading{"output/level": {Path: "output/level", Value: 12.5, Unit: "%", Time: since},
		"input/door": {Path: "input/door", Value: "ON", Time: since, Stale: true}})
}

// say publishes a value of the fake service.
func (s *fakeService) say(t *testing.T, path, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Publish(ctx, bus.Message{Topic: s.topics.To(path), Payload: []byte(value), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
}

// rowOf returns the line of a screen that has all the words.
func rowOf(text string, words ...string) string {
	for line := range strings.Lines(text) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// TestTop is a person at a terminal: sees values change, chooses, resizes, ends it, and finds the terminal as it was.
func TestTop(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, answersTop)
	s.say(t, "output/pump", "OFF")
	s.say(t, "output/level", "12.5")
	r, l := boot(t, hostNamed("pizero2", 0xab, url), nil), newLaptop(t)
	y := openTTY(t, 100, 20)
	before := y.state()
	code := make(chan int, 1)
	go func() { code <- l.runAt(y, env("TERM=xterm"), "top", "--to", r.addr) }()

	text := y.sees("1 host, 2 services (1 offline), 4 points", "output/level", "hostsensor", "q quit", "1h!")
	if got, want := rowOf(text, "output/level"), "pizero2 gpio online output/level 12.5 % 1h -"; got != want {
		t.Errorf("row %q, want %q", got, want)
	}
	if got, want := rowOf(text, "output/pump"), "pizero2 gpio online output/pump OFF - - -"; got != want {
		t.Errorf("row %q, want %q", got, want)
	}
	if got, want := rowOf(text, "hostsensor"), "pizero2 hostsensor offline"; !strings.HasPrefix(got, want) {
		t.Errorf("row %q, want %q", got, want)
	}
	s.say(t, "output/pump", "ON")
	y.until("the pump goes on, now, with a rate", func(text string) bool {
		row := strings.Fields(rowOf(text, "output/pump"))
		return len(row) == 8 && row[4] == "ON" && strings.HasSuffix(row[6], "s") && row[7] != "-"
	})

	y.press("/pump\r")
	y.until("the filter", func(text string) bool {
		return strings.Contains(text, "filter pump") && !strings.Contains(text, "output/level")
	})
	y.press("/\x15class=[\r")
	y.sees("filter: class=[_", "is no pattern")
	y.press("\x1b")
	y.press("\x1b")
	y.sees("output/level")
	y.press("s")
	y.sees("points by value")
	y.press("r")
	y.sees("points by value reversed")
	y.press("v")
	y.sees("services by value", "FUNCTION", "NOTE")
	y.press("v")
	text = y.sees("hosts by value", "127.0.0.1")
	if got := rowOf(text, "127.0.0.1"); !strings.HasPrefix(got, "pizero2 127.0.0.1 online 2 ") {
		t.Errorf("row %q", got)
	}
	y.press("v")
	y.sees("points by")

	y.resize(60, 8) // three rows fit
	y.press("\x1b[6~")
	y.sees("of 5", "MSG/S")
	y.until("the last rows", func(text string) bool { return rowOf(text, "3-5 of 5") != "" || rowOf(text, "2-5 of 5") != "" })
	for line := range strings.Lines(y.sees("MSG/S")) {
		if n := cells(strings.TrimSuffix(line, "\n")); n > 60 {
			t.Errorf("%q takes %d cells of 60", line, n)
		}
	}
	y.press("g")
	y.sees("1-4 of 5")

	y.press("q")
	if got := <-code; got != exitOK {
		t.Errorf("status %d", got)
	}
	y.asBefore(before)
}

// TestTopSignal: ctx ends with a signal, and the terminal is as it was.
func TestTopSignal(t *testing.T) {
	t.Parallel()
	y := openTTY(t, 80, 24)
	before := y.state()
	l := newLaptop(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- runIn(ctx, env(), []string{"--cache", l.cache, "--keys", l.keys, "top", "--to", freePort(t)}, y.slave, y.slave, y.slave)
	}()
	y.sees("0 hosts", "q quit")
	cancel()
	<-code
	y.asBefore(before)
}

// asBefore fails unless the terminal is as it was, with its first screen and its cursor.
func (y *tty) asBefore(state any) {
	y.t.Helper()
	if got := y.state(); got != state {
		y.t.Errorf("the terminal is %+v, was %+v", got, state)
	}
	y.until("the first screen, with its cursor", func(text string) bool {
		return strings.HasSuffix(y.written(), leaveScreen) && !strings.Contains(text, "q quit")
	})
}

// TestScreenIsRestored: whatever ends a full screen, an error or a panic, also one in another goroutine.
func TestScreenIsRestored(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*fullScreen) error{
		"error": func(*fullScreen) error { return errors.New("x") },
		"panic": func(*fullScreen) error { panic("in the screen") },
		"another goroutine": func(s *fullScreen) error {
			o := topping{panics: make(chan string, 1)}
			go o.guard(func() { panic("elsewhere") })
			return o.show(context.Background(), s, newTopModel(), &topView{view: viewPoints, order: byName}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := openTTY(t, 80, 24)
			before := y.state()
			out := &output{w: y.slave, term: terminalOf(y.slave, env())}
			var err error
			var panicked any
			func() {
				defer func() { panicked = recover() }()
				err = withScreen(y.slave, out, f)
			}()
			text, _ := panicked.(string)
			if (name == "error") != (err != nil) || strings.Contains(name, "panic") != (text == "in the screen") || strings.Contains(name, "another") != strings.HasPrefix(text, "elsewhere") {
				t.Errorf("error %v, panic %v", err, panicked)
			}
			y.asBefore(before)
		})
	}
}

// TestTopOnce: without a terminal, or where it is asked for, what is there is printed once.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, answersTop)
	s.say(t, "output/level", "12.5")
	r, l := boot(t, hostNamed("pizero2", 0xab, url), nil), newLaptop(t)
	dead := boot(t, hostNamed("dead", 0xcd, "tcp://"+freePort(t)), nil)
	to := r.addr + "," + dead.addr
	top := func(args ...string) (stdout, stderr string) {
		for range 10 { // on a busy machine a broker may be given up too soon
			if stdout, stderr = l.want(exitOK, append([]string{"top", "--to", to}, args...)...); !strings.Contains(stderr, "pizero2:") && strings.Contains(stdout, "gpio") {
				break
			}
		}
		return stdout, stderr
	}
	stdout, stderr := top()
	if strings.Contains(stdout, "\x1b") || rowOf(stdout, "output/level") != "pizero2 gpio online output/level 12.5 % 1h -" || rowOf(stdout, "HOST") != "HOST SERVICE STATUS POINT VALUE UNIT AGE MSG/S" {
		t.Errorf("stdout:\n%s", stdout)
	}
	if !strings.Contains(stderr, "udpsrv: warning: dead: ") {
		t.Errorf("stderr: %s", stderr)
	}
	stdout, _ = top("--view", "services", "--sort", "rate", "--filter", "service=gpio,name=pi*")
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "pizero2") {
		t.Errorf("services:\n%s", stdout)
	}
	stdout, _ = top("--json")
	var d topDoc
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || len(d.Hosts) != 2 || d.Hosts[0].Hostname != "dead" || d.Hosts[0].Error == "" {
		t.Fatalf("%v: %s", err, stdout)
	}
	gpio := d.Hosts[1].Services[0]
	for _, p := range gpio.Points {
		if p.Path == "output/level" && (p.Value == nil || *p.Value != "12.5" || p.Unit != "%" || p.Time == nil || time.Since(*p.Time) < time.Hour) || p.Path == "input/door" && !p.Stale {
			t.Errorf("point %+v", p)
		}
	}
	if gpio.Status != "online" || len(gpio.Points) != 4 {
		t.Errorf("service %+v", gpio)
	}
	y := openTTY(t, 80, 24)
	if code := l.runAt(y, env(), "top", "--once", "--to", r.addr, "--filter", "point=output/*"); code != exitOK {
		t.Errorf("status %d", code)
	}
	y.sees("output/pump", "output/level")
	if _, stderr := l.want(exitFail, "top", "--to", freePort(t), "--wait", "200ms"); !strings.Contains(stderr, "no host answered") {
		t.Errorf("stderr: %s", stderr)
	}
}
