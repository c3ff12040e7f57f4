package agents

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/reports"
)

// TestSetOfAJSONPoint hands the agent the list, however it was written, and Names reads it.
func TestSetOfAJSONPoint(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.points = append(a.points, reports.Point{Path: "inputs", Type: reports.JSON, Access: reports.Get | reports.Set},
		reports.Point{Path: "input/a", Type: reports.Bool, Access: reports.Get}, reports.Point{Path: "input/b", Type: reports.Bool, Access: reports.Get})
	a.put("inputs", []string{})
	a.put("input/a", true)
	a.put("input/b", true)
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		names, err := reports.Names(c.Value)
		if err != nil {
			return reports.Reading{}, err
		}
		a.put(c.Path, names)
		return a.read(c.Path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for _, payload := range []string{`["a","b"]`, `[a,b]`, "a, b", `{"value":["a","b"]}`, `{"value":"[a,b]"}`, ` [ "a" , 'b' ] `} {
			b.do("set/inputs", "[]")
			b.wantState("inputs", "[]")
			b.do("set/inputs", payload)
			b.wantState("inputs", `["a","b"]`)
			b.wantCodes("", "")
		}
		for _, payload := range []string{"[a", "a b", "[a,a]", "[a,,b]", "", `{"value":{"a":1}}`, "[[a]]", `{"value":null}`} {
			b.do("set/inputs", payload)
			b.wantState("inputs", `["a","b"]`)
			b.wantCodes(reports.CodeWrongType)
		}
		// A branch is its own name and what lies below, not what begins with it.
		b.do("get/input", "")
		r := b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); len(data) != 2 || data["input/a"] == nil || data["input/b"] == nil {
			t.Errorf("get input = %v", r[0].Data)
		}
		b.do("get/inputs", "")
		r = b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); data["path"] != "inputs" {
			t.Errorf("get inputs = %v", r[0].Data)
		}
	})
}

// TestArgsComeAsTheyWereSent: what a duration may be is the agent's to say.
func TestArgsComeAsTheyWereSent(t *testing.T) {
	t.Parallel()
	a := newFake()
	var got any
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		got = c.Args["for"]
		return reports.Reading{Path: c.Path, Value: c.Value}, nil
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for sent, want := range map[string]any{`"5s"`: "5s", "5": json.Number("5"), `"5"`: "5", "1.50": json.Number("1.50"), "true": true, "null": nil, "[5]": []any{json.Number("5")}} {
			b.do("set/relay", `{"value":"ON","for":`+sent+`}`)
			b.wantCodes("")
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("for %s (-got +want):\n%s", sent, diff)
			}
		}
	})
}

// TestControlComesToTheLetter hands the agent the block as it was sent, whatever form it has, with the id and the reply topic of
// those forms that have them.
func TestControlComesToTheLetter(t *testing.T) {
	t.Parallel()
	const text = "\n  output\n\tname pump_drive \n  pin  25\n\n---\ninput\n name door\n on_change  /doors/front\n"
	quoted, _ := json.Marshal(text)
	for name, test := range map[string]struct{ payload, block, id, reply, code string }{
		"text":              {text, text, "null", "", ""},
		"text in envelope":  {`{"value":` + string(quoted) + `,"id":7,"reply":"/r"}`, text, "7", "/r", ""},
		"JSON":              {` {"verb":"pulse", "id":"a","reply":"/r"}`, ` {"verb":"pulse", "id":"a","reply":"/r"}`, `"a"`, "/r", ""},
		"YAML":              {"verb: pulse\nid: 7\nreply: /r\n", "verb: pulse\nid: 7\nreply: /r\n", "7", "/r", ""},
		"YAML, id a text":   {"id: '7'\nverb: pulse\n", "id: '7'\nverb: pulse\n", `"7"`, "", ""},
		"YAML, id a word":   {"id: x <y>\nverb: pulse\n", "id: x <y>\nverb: pulse\n", `"x \u003cy\u003e"`, "", ""},
		"YAML, hexadecimal": {"verb: pulse\nid: 0x1f\n", "verb: pulse\nid: 0x1f\n", `"0x1f"`, "", ""},
		"YAML, bad id":      {"verb: pulse\nid: [1]\n", "", "null", "", reports.CodeBadPayload},
		"YAML, bad reply":   {"verb: pulse\nid: 5\nreply: /h/s/set/relay\n", "", "5", "", reports.CodeBadTopic},
		"YAML, own reply":   {"verb: pulse\nid: 5\nreply: /h/x\n", "", "5", "", reports.CodeBadTopic},
		"not quite YAML":    {"verb: pulse\nid: [5\n", "verb: pulse\nid: [5\n", "null", "", ""},
		"not quite a map":   {"output\nverb: pulse\nid: 5\n", "output\nverb: pulse\nid: 5\n", "null", "", ""},
		"two id":            {"verb: pulse\nid: 5\nid: 6\n", "verb: pulse\nid: 5\nid: 6\n", "null", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFake()
			var got string
			a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
				got = string(c.Value.([]byte))
				return reports.Reading{}, nil
			}
			inBubble(t, nil, same(a), func(b *bench) {
				b.do("control", test.payload)
				var replies []string
				if test.reply != "" {
					replies = b.sent(test.reply)
				}
				r := b.wantCodes(test.code)
				if len(r) == 1 && jsonID(r[0].ID) != test.id || got != test.block || (test.reply != "") != (len(replies) == 1) {
					t.Errorf("the agent got %q, want %q; result %+v, on the reply topic %q", got, test.block, r, replies)
				}
			})
		})
	}
}

func jsonID(id reports.ID) string {
	if id == "" {
		return "null"
	}
	return string(id)
}

// TestSetupComesToTheLetter: leading blanks are part of YAML.
func TestSetupComesToTheLetter(t *testing.T) {
	t.Parallel()
	a := newFake()
	const doc = "\n  chip: sim\n  outputs: {}\n"
	inBubble(t, nil, same(a), func(b *bench) {
		b.do("setup", doc)
		if b.wantCodes(""); string(a.doc) != doc {
			t.Errorf("the agent got %q, want %q", a.doc, doc)
		}
	})
}
