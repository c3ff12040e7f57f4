package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// logRecords are what the fake service has logged: one with what would move a terminal's cursor, and one that is no object.
var logRecords = []json.RawMessage{
	json.RawMessage(`{"time":"2026-11-23T02:13:57.139Z","level":"info","msg":"status","status":"online"}`),
	json.RawMessage(`{"time":"2026-11-23T02:13:58Z","level":"warn","msg":"evil\u001b[2J\u202e","a b":"c d","n":7,"list":[1,"\u0007"]}`),
	json.RawMessage(`"bare\u001b"`),
}

// logAnswer answers get/log as the runner does; live is told of each get/log/live.
func logAnswer(live func()) func(reports.Command) reports.Result {
	return func(c reports.Command) reports.Result {
		switch c.Path {
		case "log/live":
			live()
			fallthrough
		case "log":
			return reports.Done(c, map[string]any{"records": logRecords})
		}
		return reports.Failed(c, &reports.Error{Code: reports.CodeUnknown, Text: "no such point"})
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	l, url := newLaptop(t), bustest.Start(t)
	s := serve(t, url, logAnswer(func() {}))
	s.retain(t, s.topics.To("error"), "pin 17 is taken\x1b[2J")
	args := []string{"logs", "--broker", url, "pizero2/gpio"}
	out, stderr := l.want(exitOK, args...)
	if strings.ContainsAny(out, "\x1b\x07\u202e") || stderr != "" {
		t.Errorf("printed %q, and on stderr %q", out, stderr)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 3 records, the status and the error: %q", len(lines), out)
	}
	at, _ := time.Parse(time.RFC3339, "2026-11-23T02:13:57.139Z")
	if want := at.Local().Format("2006-01-02 15:04:05.000") + " info   status status=online"; lines[0] != want {
		t.Errorf("first line %q, want %q", lines[0], want)
	}
	has(t, "second line", lines[1], ` warn   evil\x1b[2J\u202e a b="c d" list=[1,"\u0007"] n=7`)
	has(t, "lines", out, ` log    "bare\u001b"`, " status online", ` error  pin 17 is taken\x1b[2J`)
	out, _ = l.want(exitOK, append(args, "-n", "1", "--json")...)
	has(t, "the last record as JSON", out, `{"kind":"log","record":"bare\u001b"}`+"\n", `{"kind":"status","record":"online"}`+"\n")
	if strings.Contains(out, "evil") {
		t.Errorf("-n 1 printed more: %q", out)
	}
	l.want(exitUsage, append(args, "-n", "-1")...)
	l.want(exitUsage, "logs", "pizero2/gpio/input")
	_, stderr = l.want(exitFail, "logs", "--broker", "tcp://"+freePort(t), "pizero2/gpio")
	has(t, "stderr", stderr, "connect")
}

// TestLogsOfAnother is about a program that keeps no log: what stands on its topics is printed all the same.
func TestLogsOfAnother(t *testing.T) {
	t.Parallel()
	l, url := newLaptop(t), bustest.Start(t)
	serve(t, url, func(c reports.Command) reports.Result {
		return reports.Failed(c, &reports.Error{Code: reports.CodeUnknown, Text: "no such point"})
	})
	out, stderr := l.want(exitOK, "logs", "--broker", url, "pizero2/gpio")
	has(t, "stdout", out, "status online")
	has(t, "stderr", stderr, "it keeps no log that could be asked for: pizero2/gpio: no such point")
}

// pipe is what a command prints, for somebody who waits for lines.
type pipe struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // size 1
}

// Write implements io.Writer.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.wrote <- struct{}{}:
	default:
	}
	return p.b.Write(b)
}

// until waits for the text.
func (p *pipe) until(t *testing.T, ctx context.Context, text string) { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	for {
		p.mu.Lock()
		got := p.b.String()
		p.mu.Unlock()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-p.wrote:
		case <-ctx.Done():
			t.Fatalf("no %q in %q", text, got)
		}
	}
}

// TestLogsFollow follows a service until it is interrupted: records are printed once each, whichever way they come.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	l, url := newLaptop(t), bustest.Start(t)
	asked := make(chan struct{}, 8)
	s := serve(t, url, logAnswer(func() { asked <- struct{}{} }))
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	defer cancel()
	out, ended := &pipe{wrote: make(chan struct{}, 1)}, make(chan int, 1)
	go func() { // ends with ctx
		ended <- run(ctx, []string{"--cache", l.cache, "--keys", l.keys, "logs", "--broker", url, "pizero2/gpio", "-f"}, strings.NewReader(""), out, &pipe{wrote: make(chan struct{}, 1)})
	}()
	out.until(t, ctx, "evil")
	<-asked
	send := func(tail, payload string) {
		t.Helper()
		if err := s.Publish(ctx, bus.Message{Topic: s.topics.To(tail), Payload: []byte(payload), QoS: 1}); err != nil {
			t.Error(err)
		}
	}
	send("log", string(logRecords[0])) // has been printed
	send("log", `{"level":"error","msg":"new","pin":17}`)
	out.until(t, ctx, "error  new pin=17\n")
	send("result", `{"id":"x","ok":false,"error":"no","code":"busy"}`)
	out.until(t, ctx, "result code=busy error=no id=x ok=false\n")
	s.retain(t, s.topics.To("error"), "stuck")
	out.until(t, ctx, "error  stuck\n")
	s.retain(t, s.topics.To("status"), "offline")
	out.until(t, ctx, "status offline\n")
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("ended with %d, want %d", code, exitOK)
	}
	if text := out.b.String(); strings.Count(text, "status=online") != 1 || strings.Count(text, "evil") != 1 {
		t.Errorf("records stand twice in %q", text)
	}
}

// FuzzLogLine prints whatever stands on a log topic on one line that does nothing to a terminal.
func FuzzLogLine(f *testing.F) {
	for _, r := range logRecords {
		f.Add("log", []byte(r))
	}
	f.Add("result", []byte(`{"id":"\u001b","ok":true,"data":{"a":["\u202e"]}}`))
	f.Add("error", []byte("\xff\x1b"))
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		var out bytes.Buffer
		l := logFollower{o: &logging{}, a: &app{out: &output{w: &out}}}
		if err := l.print(kind, payload); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); clean(strings.TrimSuffix(text, "\n")) != strings.TrimSuffix(text, "\n") || !strings.HasSuffix(text, "\n") {
			t.Errorf("printed %q", text)
		}
	})
}
