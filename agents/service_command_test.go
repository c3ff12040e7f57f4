package agents

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// TestCommandCodes sends one command each to a fresh service and looks at the result and at what has changed.
func TestCommandCodes(t *testing.T) {
	t.Parallel()
	big := `"` + strings.Repeat("x", 1<<20) + `"`
	tests := []struct {
		name, tail, payload string
		code, inError       string
		state, value        string // what stands on a state topic afterwards
	}{
		{"a bare value", "set/relay", "ON", "", "", "relay", "ON"},
		{"lower case", "set/relay", "true", "", "", "relay", "ON"},
		{"toggle", "set/relay", "toggle", "", "", "relay", "ON"},
		{"an object", "set/level", `{"value":3,"id":"a"}`, "", "", "level", "3"},
		{"a known key", "set/relay", `{"value":"ON","for":"5s"}`, "", "", "relay", "ON"},
		{"an unknown key", "set/relay", `{"value":"ON","fro":"5s"}`, reports.CodeBadPayload, "known are value, id, reply, for", "relay", "OFF"},
		{"a point that is not there", "set/rely", "ON", reports.CodeUnknown, "it has relay", "relay", "OFF"},
		{"a branch", "set/room", "1", reports.CodeUnknown, "", "relay", "OFF"},
		{"no point", "set", "1", reports.CodeUnknown, "", "relay", "OFF"},
		{"read-only", "set/room/temp", "3", reports.CodeReadOnly, "can't be set", "room/temp", "20"},
		{"the wrong type", "set/level", "high", reports.CodeWrongType, "", "level", "1"},
		{"empty", "set/level", "", reports.CodeWrongType, "", "level", "1"},
		{"a toggle for a number", "set/level", "TOGGLE", reports.CodeWrongType, "", "level", "1"},
		{"out of range", "set/level", "11", reports.CodeOutOfRange, "more than 10", "level", "1"},
		{"no option", "set/room/mode", "turbo", reports.CodeOutOfRange, "eco, boost", "room/mode", "eco"},
		{"not UTF-8", "set/room/mode", "\xff", reports.CodeBadPayload, "", "room/mode", "eco"},
		{"a megabyte", "set/room/mode", big, reports.CodeTooLarge, "65536", "room/mode", "eco"},
		{"broken JSON is a bare value", "set/level", `{"value":`, reports.CodeWrongType, "", "level", "1"},
		{"a bad reply topic", "set/level", `{"value":2,"reply":"a/#"}`, reports.CodeBadTopic, "", "level", "1"},
		{"a reply that commands", "set/level", `{"value":2,"reply":"/h/s/set/relay"}`, reports.CodeBadTopic, "", "level", "1"},
		{"a reply among the host's own topics", "set/level", `{"value":2,"reply":"/h/other/temp"}`, reports.CodeBadTopic, "", "level", "1"},
		{"get a point", "get/level", "", "", "", "level", "1"},
		{"get a branch", "get/room", `{"id":1}`, "", "", "level", "1"},
		{"get all", "get", "", "", "", "level", "1"},
		{"get what is not there", "get/rooms", "", reports.CodeUnknown, "", "", ""},
		{"get an event", "get/button", "", reports.CodeWriteOnly, "can't be read", "", ""},
		{"get with rubbish", "get/level", "rubbish", reports.CodeBadPayload, "", "", ""},
		{"a strange verb", "control", `{"verb":"explode"}`, reports.CodeUnsupported, "", "", ""},
		{"an original block", "control", "output\n name x\n", reports.CodeUnsupported, "", "", ""},
		{"an empty block", "control", "", reports.CodeUnsupported, "", "", ""},
		{"setup", "setup", "a: 2", "", "", "", ""},
		{"get setup", "get/setup", "", "", "", "", ""},
		{"poll without a value", "control", `{"verb":"poll"}`, reports.CodeBadPayload, "value", "", ""},
		{"poll with a wrong key", "control", `{"verb":"poll","vlaue":"1s"}`, reports.CodeBadPayload, "value", "", ""},
		{"poll too often", "control", `{"verb":"poll","value":"1ms"}`, reports.CodeOutOfRange, "", "", ""},
		{"poll what is not there", "control", `{"verb":"poll","path":"x","value":"1s"}`, reports.CodeUnknown, "", "", ""},
		{"poll an event", "control", `{"verb":"poll","path":"button","value":"1s"}`, reports.CodeUnsupported, "not polled", "", ""},
		{"poll in YAML", "control", "verb: poll\nvalue: 5s\npath: room\n", "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, same(newFake()), func(b *bench) {
				b.do(tt.tail, tt.payload)
				r := b.wantCodes(tt.code)
				if len(r) == 1 && !strings.Contains(r[0].Error, tt.inError) {
					t.Errorf("error = %q, want %q in it", r[0].Error, tt.inError)
				}
				if tt.state != "" {
					b.wantState(tt.state, tt.value)
				}
				b.wantState("error", "")
			})
		})
	}
}

func TestRetainedCommandsAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, same(newFake()), func(b *bench) {
		for tail, payload := range map[string]string{"set/relay": `{"value":"ON","id":9,"reply":"/me"}`, "get": "", "control": "x", "setup": "a: 9"} {
			b.receive(bus.Message{Topic: "/h/s/" + tail, Payload: []byte(payload), Retained: true})
		}
		synctest.Wait()
		results := b.wantCodes(reports.CodeRetained, reports.CodeRetained, reports.CodeRetained, reports.CodeRetained)
		for _, r := range results {
			if (r.Verb == "set") != (r.ID == "9") {
				t.Errorf("result %+v has the wrong id", r)
			}
		}
		if got := b.sent("/me"); len(got) != 1 {
			t.Errorf("reply topic got %q, want the refusal", got)
		}
		b.wantState("relay", "OFF")
		b.do("get/setup", "")
		if r := b.wantCodes(""); r[0].Data != "a: 1\n" {
			t.Errorf("setup = %v, want the old one", r[0].Data)
		}
	})
}

func TestReplyGetsTheSameResult(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, same(newFake()), func(b *bench) {
		b.do("set/relay", `{"value":"ON","id":"x1","reply":"/laptop/answers"}`)
		reply := b.sent("/laptop/answers")
		result := b.sent("/h/s/result")
		if len(reply) != 1 || len(result) != 1 || reply[0] != result[0] {
			t.Fatalf("reply %q, result %q, want one and the same", reply, result)
		}
		var r reports.Result
		if err := json.Unmarshal([]byte(result[0]), &r); err != nil {
			t.Fatal(err)
		}
		if data, _ := r.Data.(map[string]any); !r.OK || r.ID != `"x1"` || data["value"] != "ON" || data["path"] != "relay" {
			t.Errorf("result = %+v", r)
		}
	})
}

func TestEveryShapeOfATopic(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, same(newFake()), func(b *bench) {
		for i, topic := range []string{"/h/s/set/level", "h/s/set/level", "/h/set/s/level", "h/set/s/level", "/set/s/level", "set/s/level"} {
			value := reports.FormatValue(i + 2)
			b.receive(bus.Message{Topic: topic, Payload: []byte(value)})
			synctest.Wait()
			b.wantCodes("")
			b.wantState("level", value)
		}
		for _, topic := range []string{"/h/control/s", "h/setup/s", "/get/s", "/h/get/s/room"} {
			b.receive(bus.Message{Topic: topic})
			synctest.Wait()
			if n := len(b.results(t)); n != 1 {
				t.Errorf("%d results for %s, want 1", n, topic)
			}
		}
		b.receive(bus.Message{Topic: "/h/s/control/x"}) // no filter matches it, but a broker may send anything
		synctest.Wait()
		b.wantCodes(reports.CodeBadTopic)
	})
}

func TestGetAnswersWithReadings(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, nil, same(a), func(b *bench) {
		a.put("room/temp", 22.5)
		a.put("level", int64(4))
		b.do("get/room", "")
		data, _ := b.wantCodes("")[0].Data.(map[string]any)
		temp, _ := data["room/temp"].(map[string]any)
		mode, _ := data["room/mode"].(map[string]any)
		if len(data) != 2 || temp["value"] != 22.5 || temp["unit"] != "°C" || mode["value"] != "eco" {
			t.Errorf("get room = %v", data)
		}
		b.wantState("room/temp", "22.5") // and it is published
		b.wantState("level", "1")
		b.sent("/h/s/level")
		b.do("get/level", "")
		one, _ := b.wantCodes("")[0].Data.(map[string]any)
		if one["value"] != 4.0 {
			t.Errorf("get level = %v, want a reading of 4", one)
		}
		b.do("get/level", "")
		if got := b.sent("/h/s/level"); len(got) != 2 {
			t.Errorf("two gets published %q, want both", got)
		}

		a.mu.Lock()
		delete(a.values, "level")
		a.mu.Unlock()
		b.results(t)
		b.do("get", "")
		r := b.wantCodes("")[0]
		all, _ := r.Data.(map[string]any)
		level, _ := all["level"].(map[string]any)
		if len(all) != 4 || level["stale"] != true || level["value"] != 4.0 || !strings.Contains(r.Error, "level") {
			t.Errorf("get of all with one that fails = %v, error %q", all, r.Error)
		}
		b.do("get/level", "")
		b.wantCodes(reports.CodeDevice)
		b.do("get/description", "")
		desc, _ := b.wantCodes("")[0].Data.(map[string]any)
		if desc["name"] != "s" {
			t.Errorf("get description = %v", desc)
		}
	})
}

func TestAgentsThatCanDoLess(t *testing.T) {
	t.Parallel()
	t.Run("only described", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, same(onlyAgent{newFake()}), func(b *bench) {
			for _, c := range []struct{ tail, payload, code string }{
				{"set/relay", "ON", reports.CodeUnsupported}, {"control", "x", reports.CodeUnsupported}, {"setup", "x", reports.CodeUnsupported},
				{"get/setup", "", reports.CodeUnsupported}, {"get/relay", "", reports.CodeDevice}, {"get", "", reports.CodeDevice},
				{"control", `{"verb":"refresh"}`, reports.CodeDevice},
			} {
				b.do(c.tail, c.payload)
				b.wantCodes(c.code)
			}
		})
	})
	t.Run("no points", func(t *testing.T) {
		t.Parallel()
		a := newFake()
		a.points = nil
		inBubble(t, nil, same(onlyAgent{a}), func(b *bench) {
			b.wantState("status", "online")
			b.do("control", `{"verb":"refresh"}`)
			b.wantCodes("")
			b.do("get", "")
			b.wantCodes(reports.CodeUnknown)
		})
	})
	t.Run("only sampled", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, same(onlySampler{newFake()}), func(b *bench) {
			b.wantState("level", "1")
			b.do("set/level", "2")
			b.wantCodes(reports.CodeUnsupported)
		})
	})
}

func TestToggle(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, nil, same(a), func(b *bench) {
		a.put("relay", true) // changed by hand, and nobody was told
		b.do("set/relay", "TOGGLE")
		b.wantCodes("")
		b.wantState("relay", "OFF")
		a.mu.Lock()
		delete(a.values, "relay")
		a.mu.Unlock()
		b.do("set/relay", "TOGGLE")
		if r := b.wantCodes(reports.CodeDevice); !strings.Contains(r[0].Error, "present value") {
			t.Errorf("error = %q", r[0].Error)
		}
	})
}

func TestSetOfACalibratedPoint(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, map[string]config.Filter{"level": {Scale: reports.Ptr(10), MinInterval: ptr(time.Hour)}}, same(a), func(b *bench) {
		b.wantState("level", "10")
		b.do("set/level", "70")
		b.wantCodes("")
		b.wantState("level", "70") // min_interval does not delay a set
		if a.values["level"] != int64(7) {
			t.Errorf("the agent was told %v, want 7", a.values["level"])
		}
		b.do("set/level", "101")
		b.wantCodes(reports.CodeOutOfRange)
	})
}

func TestApplyErrors(t *testing.T) {
	t.Parallel()
	a := newFake()
	var fail error
	a.onApply = func(ctx context.Context, c reports.Command) (reports.Reading, error) {
		if fail == nil { // takes too long, but obeys
			<-ctx.Done()
			return reports.Reading{}, ctx.Err()
		}
		return reports.Reading{}, fail
	}
	inBubble(t, nil, same(a), func(b *bench) {
		fail = errors.New("relay is welded")
		b.do("set/relay", "ON")
		b.wantCodes(reports.CodeDevice)
		fail = reports.Errorf(reports.CodeOutOfRange, "interlocked")
		b.do("set/relay", "ON")
		b.wantCodes(reports.CodeOutOfRange)
		fail = nil
		b.do("set/relay", "ON")
		b.after(commandTimeout)
		b.wantCodes(reports.CodeTimeout)
		b.wantState("relay", "OFF")
		b.wantState("status", "online")
	})
}

func TestControlOfTheAgent(t *testing.T) {
	t.Parallel()
	a := newFake()
	var got reports.Command
	answer := reports.Reading{}
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) { got = c; return answer, nil }
	inBubble(t, nil, same(a), func(b *bench) {
		b.do("control", "output\n  name pump\n")
		if r := b.wantCodes(""); r[0].Data != nil || string(got.Value.([]byte)) != "output\n  name pump\n" {
			t.Errorf("result %+v, the agent got %q", r[0], got.Value)
		}
		answer = reports.Reading{Path: "relay", Value: true}
		b.do("control", `{"verb":"pulse","id":4}`)
		if r := b.wantCodes(""); r[0].ID != "4" || string(got.Value.([]byte)) != `{"verb":"pulse","id":4}` {
			t.Errorf("result %+v, the agent got %q", r[0], got.Value)
		}
		b.wantState("relay", "ON")
		answer = reports.Reading{Value: "two lines"}
		b.do("control", "x")
		if r := b.wantCodes(""); r[0].Data != "two lines" {
			t.Errorf("result %+v", r[0])
		}
	})
}

func TestPollAtRunTime(t *testing.T) {
	t.Parallel()
	a := newFake()
	made := 0
	inBubble(t, nil, func() (Agent, error) { made++; return a, nil }, func(b *bench) {
		b.do("control", `{"verb":"poll","path":"room","value":"100ms"}`)
		r := b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); data["room/temp"] != "100ms" || data["room/mode"] != "100ms" || len(data) != 2 {
			t.Errorf("data = %v", r[0].Data)
		}
		var desc reports.Service
		if err := json.Unmarshal([]byte(b.state("/h/s/description")), &desc); err != nil {
			t.Fatal(err)
		}
		if p, _ := desc.Point("room/temp"); time.Duration(p.Poll) != 100*time.Millisecond {
			t.Errorf("described poll = %v, want 100ms", p.Poll)
		}
		a.put("room/temp", 25.0)
		b.after(120 * time.Millisecond)
		b.wantState("room/temp", "25")
		b.do("setup", "a: 3") // a new description keeps it
		a.put("room/temp", 26.0)
		b.after(120 * time.Millisecond)
		b.wantState("room/temp", "26")
		b.do("control", `{"verb":"poll","path":"room/temp","value":"0s"}`)
		b.after(time.Second)
		a.put("room/temp", 27.0)
		b.after(time.Hour)
		b.wantState("room/temp", "26")
		b.wantCodes("", "")
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, nil, same(a), func(b *bench) {
		for _, topic := range []string{"relay", "description", "status", "error"} {
			b.sent("/h/s/" + topic)
		}
		a.put("level", int64(8))
		b.do("control", `{"verb":"refresh"}`)
		r := b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); len(data) != 4 {
			t.Errorf("data = %v, want four readings", r[0].Data)
		}
		b.wantState("level", "8")
		for _, topic := range []string{"relay", "description", "status", "error"} {
			if got := b.sent("/h/s/" + topic); len(got) == 0 {
				t.Errorf("%s was not published again", topic)
			}
		}
	})
}

func TestSetup(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.onSetup = func(_ context.Context, doc []byte) error {
		switch string(doc) {
		case "bad":
			return errors.New("line 1: bad is unknown")
		case "late":
			return context.DeadlineExceeded
		case "broken":
			a.points[0].Path = "#"
			return nil
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.points = append(a.points[1:], reports.Point{Path: "extra", Type: reports.String, Access: reports.Get})
		a.values["extra"] = "new"
		return nil
	}
	inBubble(t, nil, same(a), func(b *bench) {
		before := b.state("/h/s/description")
		b.do("setup", `bad`)
		if r := b.wantCodes(reports.CodeBadSetup); r[0].Error != "line 1: bad is unknown" {
			t.Errorf("error = %q", r[0].Error)
		}
		b.do("setup", `late`)
		b.wantCodes(reports.CodeTimeout)
		if b.state("/h/s/description") != before {
			t.Error("a refused setup changed the description")
		}
		b.do("setup", `{"value":"good","id":3}`)
		if r := b.wantCodes(""); r[0].ID != "3" {
			t.Errorf("result = %+v", r[0])
		}
		b.wantState("relay", "")
		b.wantState("extra", "new")
		b.wantState("level", "1")
		if desc := b.state("/h/s/description"); !strings.Contains(desc, `"extra"`) || strings.Contains(desc, `"relay"`) {
			t.Errorf("description = %s", desc)
		}
		b.do("setup", `broken`)
		b.wantCodes(reports.CodeDevice)
		b.wantState("status", "offline")
	})
}
