package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// runAt runs a command at a terminal: stdout and stderr are it.
func (l *laptop) runAt(y *tty, getenv func(string) string, args ...string) int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	return runIn(ctx, getenv, append([]string{"--cache", l.cache, "--keys", l.keys}, args...), y.slave, y.slave, y.slave)
}

// longValue is a service whose point has a value longer than a line.
func longValue(c reports.Command) reports.Result {
	return reports.Done(c, map[string]reports.Reading{"input/door": {Path: "input/door", Value: strings.Repeat("台所 ", 60), Time: time.Now(), Stale: true},
		"output/pump": {Path: "output/pump", Value: true, Unit: "°C"}})
}

// TestTableOnTerminal: a table is as wide as the terminal, or as $COLUMNS says, and has colours unless nobody wants them.
func TestTableOnTerminal(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, longValue)
	l := newLaptop(t)
	for _, c := range []struct {
		name    string
		env     string
		widest  int
		colours bool
	}{
		{"as it is", "TERM=xterm", 50, true},
		{"COLUMNS", "COLUMNS=44", 44, true},
		{"no number", "COLUMNS=wide", 50, true},
		{"NO_COLOR", "NO_COLOR=1", 50, false},
		{"empty NO_COLOR", "NO_COLOR=", 50, true},
		{"dumb", "TERM=dumb", 50, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			y := openTTY(t, 50, 24)
			if code := l.runAt(y, env(c.env), "get", "--broker", url, "pizero2/gpio"); code != exitOK {
				t.Fatalf("status %d", code)
			}
			text := y.sees("PATH", "input/door", "output/pump", "(stale)", "…")
			widest := 0
			for line := range strings.Lines(text) {
				widest = max(widest, cells(strings.TrimSuffix(line, "\n")))
			}
			if raw := y.written(); widest != c.widest || strings.Contains(raw, "\x1b[33m") != c.colours || strings.Contains(raw, "\x1b") != c.colours {
				t.Errorf("%d cells wide, want %d; colours wanted: %t; %q", widest, c.widest, c.colours, raw)
			}
		})
	}
	var out bytes.Buffer
	args := []string{"--keys", l.keys, "--cache", l.cache, "get", "--broker", url, "pizero2/gpio"}
	if code := runIn(t.Context(), env("COLUMNS=40"), args, strings.NewReader(""), &out, io.Discard); code != exitOK {
		t.Fatalf("status %d", code)
	}
	if text := out.String(); strings.ContainsAny(text, "…\x1b") || !strings.Contains(text, strings.Repeat("台所 ", 59)) {
		t.Errorf("a pipe gets %q", text)
	}
}

// TestErrorsOnTerminal: the word before an error is red on a terminal.
func TestErrorsOnTerminal(t *testing.T) {
	t.Parallel()
	y := openTTY(t, 60, 5)
	newLaptop(t).runAt(y, env(), "swep")
	y.sees(`udpsrv: unknown command "swep", did you mean "sweep"?`)
	if raw := y.written(); !strings.HasPrefix(raw, "\x1b[31mudpsrv:\x1b[0m unknown") {
		t.Errorf("got %q", raw)
	}
}

// TestProgress: what takes longer than a second says so on a terminal, in one line that is gone at the end, and nowhere else.
func TestProgress(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, nil) // it never answers
	l := newLaptop(t)
	args := []string{"get", "--timeout", "4s", "--broker", url, "pizero2/gpio"}
	y := openTTY(t, 70, 10)
	code := l.runAt(y, env("TERM=xterm"), args...)
	text := y.sees("udpsrv: no answer from pizero2/gpio within 4s")
	if !strings.Contains(y.written(), "waiting for pizero2/gpio … ") || code != exitFail || !strings.HasPrefix(text, "udpsrv: ") {
		t.Errorf("status %d; %q", code, y.written())
	}
	args[2] = "1500ms"
	dumb := openTTY(t, 70, 10)
	l.runAt(dumb, env("TERM=dumb"), args...)
	if text := dumb.sees("udpsrv: no answer"); strings.Contains(dumb.written(), "waiting") {
		t.Errorf("a dumb terminal shows\n%s", text)
	}
	if _, stderr := l.want(exitFail, args...); strings.Contains(stderr, "waiting") || strings.Contains(stderr, "\x1b") {
		t.Errorf("a pipe gets %q", stderr)
	}
}

// TestProgressMakesRoom: what is printed meanwhile stands in lines of its own, and one thing inside another is what is shown.
func TestProgressMakesRoom(t *testing.T) {
	t.Parallel()
	y := openTTY(t, 60, 8)
	a := &app{out: &output{w: y.slave, term: terminalOf(y.slave, env())}, err: &output{w: y.slave, term: terminalOf(y.slave, env())}}
	withStatusLine(a.out, a.err)
	outer := a.begin("outer")
	y.sees("outer … ")
	io.WriteString(a.out, "row 1\n")
	inner := a.begin("inner\x1b[2J")
	y.sees("row 1\n", `inner\x1b[2J …`)
	inner.set("inner, half")
	y.sees("row 1\ninner, half …")
	inner.end()
	inner.end()
	y.sees("row 1\nouter … ")
	io.WriteString(a.out, "no end of line") // nothing may erase it
	io.WriteString(a.err, ", the end\n")
	outer.end()
	still := a.beginStill("asking %s", "pi")
	y.sees("asking pi …")
	still.end()
	if text := y.until("the line is gone", func(s string) bool { return !strings.Contains(s, "asking") }); text != "row 1\nno end of line, the end" {
		t.Errorf("the screen:\n%s", text)
	}
}
