package agents

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// tail asks a service for its log and returns the messages of the records.
func (w *watch) tail(path, id string) (msgs []string, data LogTail) {
	w.t.Helper()
	w.publish("/h/s/get/"+path, `{"id":"`+id+`"}`, false)
	var r struct {
		OK   bool
		Data LogTail
	}
	w.until("answer "+id, func() bool {
		m := w.last["/h/s/result"]
		return strings.Contains(string(m.Payload), `"id":"`+id+`"`) && json.Unmarshal(m.Payload, &r) == nil
	})
	if !r.OK {
		w.t.Fatalf("%s is refused", path)
	}
	for _, raw := range r.Data.Records {
		var rec struct{ Msg string }
		if err := json.Unmarshal(raw, &rec); err != nil {
			w.t.Error(err)
		}
		msgs = append(msgs, rec.Msg)
	}
	return msgs, r.Data
}

// TestLogTail asks a service whose log is switched off what happened, and to follow it.
func TestLogTail(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	w := newWatch(t, url)
	var logs sync.Map
	startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{loggingFactory(&logs)}})
	w.wantLast("/h/s/status", "online")
	log := loggerOf(t, &logs, "s")
	log.Debug("hidden")
	log.Info("first", "n", 1)
	msgs, _ := w.tail("log", "1")
	if got := strings.Join(msgs, ","); !strings.Contains(got, "status") || !strings.HasSuffix(got, "first") || strings.Contains(got, "hidden") {
		t.Errorf("records %s", got)
	}
	if n := len(w.records("/h/s/log")); n != 0 {
		t.Errorf("%d records are published although the log is switched off and nobody follows it", n)
	}
	w.tail("log/live", "2")
	log.Debug("hidden")
	log.Warn("live", "n", 2)
	if got := w.recordsUntil("/h/s/log", "live"); len(got) != 1 || got[0]["level"] != "warn" || got[0]["n"] != 2.0 {
		t.Errorf("published %v, want the one record", got)
	}
	w.publish("/h/s/get/log/none", `{"id":"3"}`, false)
	if r := w.result("/h/s/result", `"3"`); r.OK || r.Code != reports.CodeUnknown {
		t.Errorf("get/log/none is answered with %+v", r)
	}
}

// TestLogTailIsBounded: by the number of records, and by their size, however they are mixed.
func TestLogTailIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 500, logRecord} {
		tail := &logTail{}
		for i := range 1000 {
			tail.put(fmt.Appendf(nil, `"%0*d"`, size, i))
		}
		all, sum := tail.all(), 0
		for _, r := range all.Records {
			sum += len(r)
		}
		if len(all.Records) > tailRecords || sum > tailBytes || len(all.Records)+int(all.Dropped) != 1000 || !strings.HasSuffix(string(all.Records[len(all.Records)-1]), `999"`) {
			t.Errorf("%d records with %d bytes, %d dropped", len(all.Records), sum, all.Dropped)
		}
		payload, err := json.Marshal(reports.Result{Data: all, OK: true})
		if err != nil || len(payload) > maxMessage {
			t.Errorf("answer of %d bytes, %v", len(payload), err)
		}
	}
	if (*logTail)(nil).wants(slog.LevelError) {
		t.Error("a tail that is not there wants records")
	}
}
