package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// loggingFactory makes fakes and gives away the logs that they have, by the name of their service.
func loggingFactory(logs *sync.Map) Factory {
	f := fakeFactory(nil)
	f.New = func(_ Options, d Deps) (Agent, error) {
		logs.Store(d.Service, d.Log)
		return newFake(), nil
	}
	return f
}

func loggerOf(t *testing.T, logs *sync.Map, service string) *slog.Logger {
	t.Helper()
	l, ok := logs.Load(service)
	if !ok {
		t.Fatalf("%s was not made", service)
	}
	return l.(*slog.Logger)
}

// records returns what came on a log topic: each message's words, without its time.
func (w *watch) records(topic string) (out []map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.all {
		if m.Topic != topic {
			continue
		}
		var r map[string]any
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			w.t.Errorf("record %s: %v", m.Payload, err)
			continue
		}
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(r["time"])); err != nil || time.Since(at) > time.Minute {
			w.t.Errorf("record %s has the time %v", m.Payload, r["time"])
		}
		if m.QoS != 0 || m.Retained {
			w.t.Errorf("record %s came with QoS %d, retained %v", m.Payload, m.QoS, m.Retained)
		}
		delete(r, "time")
		out = append(out, r)
	}
	return out
}

// recordsUntil waits for the record with the message and returns all up to it.
func (w *watch) recordsUntil(topic, msg string) []map[string]any {
	w.t.Helper()
	w.until(msg+" on "+topic, func() bool {
		m, ok := w.last[topic]
		return ok && strings.Contains(string(m.Payload), `"msg":"`+msg+`"`)
	})
	return w.records(topic)
}

func TestLogTopic(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	var logs sync.Map
	var program syncBuffer
	startRunner(t, RunnerConfig{
		Config:    parse(t, url, t.TempDir(), "  s: {agent: fake, log: info}\n  quiet: {agent: fake}\n  off: {agent: fake, log: off}\n"),
		Factories: []Factory{loggingFactory(&logs)},
		Log:       slog.New(slog.NewTextHandler(&program, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	w.wantLast("/h/s/status", "online")
	log := loggerOf(t, &logs, "s")
	w.recordsUntil("/h/s/log", "status") // from the runner, before this test
	log.Debug("hidden")
	log.Info("begin", "n", 7, "err", errors.New("wedged"), "took", time.Second, slog.Group("pin", "no", 25, "on", true))
	log.With("unit", "m").WithGroup("sonar").Warn("far", "distance", 2.5, "path", "sonar/front")
	log.Error("end", "level", "high", "list", []string{"a", "b"})
	loggerOf(t, &logs, "quiet").Error("for the program only")
	loggerOf(t, &logs, "off").Error("for the program only")
	all := w.recordsUntil("/h/s/log", "end")
	want := []map[string]any{
		{"level": "info", "msg": "begin", "n": 7.0, "err": "wedged", "took": "1s", "pin": map[string]any{"no": 25.0, "on": true}},
		{"level": "warn", "msg": "far", "unit": "m", "sonar": map[string]any{"distance": 2.5, "path": "sonar/front"}},
		{"level": "error", "msg": "end", "level_": "high", "list": []any{"a", "b"}},
	}
	if len(all) < 3 {
		t.Fatalf("%d records", len(all))
	}
	if diff := cmp.Diff(want, all[len(all)-3:]); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	w.publish("/h/s/control", `{"verb":"refresh","id":"last"}`, false)
	w.result("/h/s/result", `"last"`)
	if n := len(w.records("/h/quiet/log")) + len(w.records("/h/off/log")); n != 0 {
		t.Errorf("%d records of services whose log is off", n)
	}
	if text := program.String(); strings.Contains(text, "begin") || strings.Count(text, "for the program only") != 2 || !strings.Contains(text, `msg=far agent=s unit=m sonar.distance=2.5`) {
		t.Errorf("the program's log is %s", text)
	}
	late := newWatch(t, url)
	late.wantLast("/h/s/status", "online")
	late.publish("/x", "y", false)
	late.wantLast("/x", "y")
	if n := len(late.records("/h/s/log")); n != 0 {
		t.Errorf("%d records are retained", n)
	}
}

// At the level of everything, publishing a record makes no other: the log comes to rest.
func TestLogTopicDoesNotFeedItself(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	var logs sync.Map
	startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), "  s: {agent: fake, log: debug}\n"), Factories: []Factory{loggingFactory(&logs)},
		Log: slog.New(slog.NewTextHandler(&syncBuffer{}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.wantLast("/h/s/status", "online")
	w.publish("/h/s/set/relay", `{"value":"ON","id":"1"}`, false)
	w.result("/h/s/result", `"1"`)
	w.recordsUntil("/h/s/log", "command")
	const marks = 50
	log := loggerOf(t, &logs, "s")
	for i := range marks {
		log.Debug(fmt.Sprintf("mark %d", i))
	}
	all := w.recordsUntil("/h/s/log", fmt.Sprintf("mark %d", marks-1))
	n := 0
	for _, r := range all {
		if strings.HasPrefix(fmt.Sprint(r["msg"]), "mark") {
			n++
		}
		if r["broker"] != nil {
			t.Errorf("record of the connection: %v", r)
		}
	}
	if n != marks || len(all) > marks+10 {
		t.Errorf("%d records, %d of them marks, want %d and a few", len(all), n, marks)
	}
}

// Without a connection nobody who logs waits; the first records are kept, and what was left out is counted.
func TestLogTopicWithoutBroker(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	broker.Stop()
	var logs sync.Map
	startRunner(t, RunnerConfig{Config: parse(t, broker.URL(), t.TempDir(), "  s: {agent: fake, log: error}\n"), Factories: []Factory{loggingFactory(&logs)}})
	log := loggerOf(t, &logs, "s")
	const many = 20_000
	start := time.Now()
	for i := range many {
		log.Error("mark", "i", i, "text", strings.Repeat("x", 100))
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("%d records took %v", many, took)
	}
	broker.Start()
	w := newWatch(t, broker.URL())
	w.wantLast("/h/s/status", "online")
	w.until("end", func() bool {
		if strings.Contains(string(w.last["/h/s/log"].Payload), `"msg":"end"`) {
			return true
		}
		log.Error("end") // again and again: while the records wait for the connection, this one is left out
		return false
	})
	marks := 0
	for _, r := range w.records("/h/s/log") {
		if r["msg"] == "mark" {
			marks++
		}
	}
	// Those that are published before the watch has subscribed are not seen.
	if marks > logWaiting+5 {
		t.Errorf("%d records came of %d, want %d at most", marks, many, logWaiting)
	}
}

func TestTopicLogCountsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	l := newTopicLog("/h/s/log", slog.LevelInfo)
	log := slog.New(topicHandler{Handler: slog.DiscardHandler, to: l})
	for i := range logWaiting + 7 {
		log.Info("mark", "i", i)
	}
	l.start(bustest.Dial(t, url))
	w.until("all", func() bool {
		n := 0
		for _, m := range w.all {
			if m.Topic == "/h/s/log" {
				n++
			}
		}
		return n == logWaiting+1
	})
	all := w.records("/h/s/log")
	if r := all[1]; r["msg"] != "records were left out" || r["count"] != 7.0 || r["level"] != "warn" {
		t.Errorf("second record %v, want the count of what was left out", r)
	}
	if r := all[logWaiting]; r["i"] != float64(logWaiting-1) {
		t.Errorf("last record %v, want the last that found room", r)
	}
	log.Info("last words")
	l.stop()
	w.recordsUntil("/h/s/log", "last words")
	log.Info("too late") // blocks nobody
}

func TestLogRecord(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	long := strings.Repeat("ä", logText)
	var cyclic struct{ Self any }
	cyclic.Self = &cyclic
	for name, c := range map[string]struct {
		attr slog.Attr
		want string
	}{
		"text":      {slog.String("a", "b\n\x00\xff"), `"a":"b\n\u0000\ufffd"`},
		"number":    {slog.Float64("a", 1.5), `"a":1.5`},
		"NaN":       {slog.Float64("a", math.NaN()), `"a":"NaN"`},
		"infinite":  {slog.Float64("a", math.Inf(-1)), `"a":"-Inf"`},
		"large":     {slog.Uint64("a", math.MaxUint64), `"a":18446744073709551615`},
		"nothing":   {slog.Any("a", nil), `"a":null`},
		"time":      {slog.Time("a", at), `"a":"2026-01-02T03:04:05.006Z"`},
		"duration":  {slog.Duration("a", 90*time.Second), `"a":"1m30s"`},
		"stringer":  {slog.Any("a", netip.MustParseAddr("10.0.0.1")), `"a":"10.0.0.1"`},
		"no JSON":   {slog.Any("a", func() {}), `"a":"0x`},
		"panics":    {slog.Any("a", panicker{}), `PANIC=String method: boom)"`},
		"cyclic":    {slog.Any("a", &cyclic), `"a":"`},
		"long text": {slog.String("a", long), `"a":"` + long[:logText] + "…\""},
		"long key":  {slog.Int(long, 1), `"` + long[:logText] + "…\":1"},
		"own name":  {slog.String("msg", "x"), `"msg_":"x"`},
		"group":     {slog.Group("g", slog.Group("h", "a", 1)), `"g":{"h":{"a":1}}`},
	} {
		h := topicHandler{Handler: slog.DiscardHandler, to: newTopicLog("x", slog.LevelDebug)}
		r := slog.NewRecord(at, slog.LevelWarn+1, "m", 0)
		r.AddAttrs(c.attr)
		got := string(h.encode(r))
		if !json.Valid([]byte(got)) || !strings.Contains(got, c.want) || !strings.Contains(got, `"level":"warn"`) || !strings.Contains(got, `"msg":"m"`) {
			t.Errorf("%s: %s, want %s in it", name, got, c.want)
		}
	}
	for name, r := range map[string]slog.Record{
		"many attributes": func() slog.Record {
			r := slog.NewRecord(at, slog.LevelInfo, "m", 0)
			for i := range 100 {
				r.Add(fmt.Sprint("a", i), strings.Repeat("x", 100))
			}
			return r
		}(),
		"message of characters that are escaped": slog.NewRecord(at, slog.LevelInfo, strings.Repeat("\x01", 9000), 0),
	} {
		h := topicHandler{Handler: slog.DiscardHandler, to: newTopicLog("x", slog.LevelDebug)}
		got := h.encode(r)
		if len(got) > logRecord || !json.Valid(got) || !utf8.Valid(got) || !bytes.Contains(got, []byte(`"cut":true`)) {
			t.Errorf("%s: %d bytes: %s", name, len(got), got)
		}
	}
}

// panicker is a value that can't be shown.
type panicker struct{}

func (panicker) String() string { panic("boom") }

// The handler keeps the rules of slog.
func TestTopicHandlerIsASlogHandler(t *testing.T) {
	t.Parallel()
	l := newTopicLog("x", slog.LevelInfo)
	slogtest.Run(t, func(*testing.T) slog.Handler { return topicHandler{Handler: slog.DiscardHandler, to: l} },
		func(t *testing.T) map[string]any {
			var r map[string]any
			if err := json.Unmarshal(<-l.queue, &r); err != nil {
				t.Fatal(err)
			}
			return r
		})
}

func TestLogLevelIsReloaded(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	w := newWatch(t, url)
	var logs sync.Map
	r := startRunner(t, RunnerConfig{Config: parse(t, url, dir, "  s: {agent: fake}\n"), Factories: []Factory{loggingFactory(&logs)}})
	w.wantLast("/h/s/status", "online")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Reload(ctx, parse(t, url, dir, "  s: {agent: fake, log: warn}\n")); err != nil {
		t.Fatal(err)
	}
	w.until("online again", func() bool { return string(w.last["/h/s/status"].Payload) == string(reports.Online) })
	w.until("warning", func() bool {
		loggerOf(t, &logs, "s").Warn("mark")
		return len(w.last["/h/s/log"].Payload) > 0
	})
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
