package agents

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// The whole way, through a broker: what other programs say on /display and /dcontrol is shown by the chip and stands in the states;
// the buttons are told of on /dbuts and on the service's own topic.
func TestDisplayTopics(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	broker := bustest.StartStoppable(t)
	client := bustest.Dial(t, broker.URL())
	heard := make(chan bus.Message, 1024)
	if err := client.Subscribe(t.Context(), 1, func(m bus.Message) { heard <- m }, "#"); err != nil {
		t.Fatal(err)
	}
	conf, err := config.Parse("rollcall.yaml", []byte("host: pi\nstate_dir: "+t.TempDir()+"\nbroker: {url: "+broker.URL()+"}\nagents: {display: "+displayOn3+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, nil))
	r, err := NewRunner(RunnerConfig{Config: conf, Factories: All(), Log: log, OpenChip: d.OpenChip})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }() // waited for below
	want := func(topic, payload string) {
		t.Helper()
		late := time.After(featurePatience)
		for {
			select {
			case m := <-heard:
				if m.Topic == topic && string(m.Payload) == payload {
					return
				}
			case <-late:
				t.Fatalf("%s never says %q", topic, payload)
			}
		}
	}
	say := func(topic, payload string) {
		t.Helper()
		if err := client.Publish(t.Context(), bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	// until says it again and again: the service may be online before it is heard on the topics of other programs.
	until := func(topic, payload, wanted, is string) {
		t.Helper()
		again := time.NewTicker(200 * time.Millisecond)
		defer again.Stop()
		late := time.After(featurePatience)
		say(topic, payload)
		for {
			select {
			case m := <-heard:
				if m.Topic == wanted && string(m.Payload) == is {
					return
				}
			case <-again.C:
				say(topic, payload)
			case <-late:
				t.Fatalf("%s never says %q", wanted, is)
			}
		}
	}
	want("/pi/display/status", "online")
	want("/pi/display/brightness", "3")
	until("/display", "12.34abCd", "/pi/display/dsp2", "abCd")
	say("/display", `{"dsp1":8,"led0":1,"led7":"ON"}`)
	want("/pi/display/led7", "ON")
	c.with(func() {
		if want := (tm1638Memory{0x7F, 1, 0, 0, 0, 0, 0, 0, 0x77, 0, 0x7C, 0, 0x39, 0, 0x5E, 1}); c.memory != want {
			t.Errorf("memory %x, want %x", c.memory, want)
		}
	})
	until("/dcontrol", "display\ndsp1 Stop\nbrightness 1\n", "/pi/display/brightness", "1")
	say("/display", "no % here")
	say("/dcontrol", "clear")
	want("/pi/display/dsp1", "")
	say("/pi/display/set/led2", `{"value":"TOGGLE","id":1}`)
	want("/pi/display/led2", "ON")
	say("/pi/display/control", `{"on":false,"id":2}`)
	want("/pi/display/brightness", "0")
	c.with(func() { c.answer = [4]byte{0x01, 0, 0x01} })
	want("/dbuts", `{"buts":5}`)
	c.with(func() { c.answer = [4]byte{} })
	want("/pi/display/buts", "0")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(logged.String(), "message refused") || !strings.Contains(logged.String(), "code=out_of_range") {
		t.Errorf("what was refused is not in the log:\n%s", logged.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

func TestDisplayParse(t *testing.T) {
	t.Parallel()
	both := func(s string) []displayChange { return []displayChange{{"dsp2", ""}, {"dsp1", s}} }
	for _, tt := range []struct {
		block string
		words bool
		want  []displayChange
		code  string
	}{
		{"12.34", false, both("12.34"), ""}, {"  right", false, both("  right"), ""}, {"", false, both(""), ""}, {"12\n", false, both("12"), ""}, {"on", false, both("on"), ""},
		{"a\nb", false, nil, reports.CodeBadPayload},
		{"dsp1 12", false, []displayChange{{"dsp1", "12"}}, ""}, {"dsp1:  12\r\nLED3 on\n", true, []displayChange{{"dsp1", " 12"}, {"led3", true}}, ""},
		{"display\n  dsp2 ab\n  led0 toggle", false, []displayChange{{"dsp2", "ab"}, {"led0", reports.Toggle}}, ""},
		{"dsp1 1\nid 7\nreply /x\n\nbrightness 3 ", false, []displayChange{{"dsp1", "1"}, {"brightness", int64(3)}}, ""},
		{"dsp1 1\nled9 on", false, nil, reports.CodeUnknown}, {"led0 maybe", false, nil, reports.CodeWrongType}, {"brightness 9", false, nil, reports.CodeOutOfRange},
		{`{"dsp1":12.50,"led1":true}`, false, []displayChange{{"dsp1", "12.50"}, {"led1", true}}, ""},
		{` {"on":"OFF","id":1,"reply":"/r"}`, true, []displayChange{{"on", false}}, ""},
		{`{"id":1}`, true, nil, reports.CodeBadPayload}, {`{"verb":"clear"}`, true, nil, reports.CodeUnknown}, {`{"dsp1":"1"} x`, true, nil, reports.CodeBadPayload},
		{`{"dsp1":`, true, nil, reports.CodeBadPayload}, {`{"led0":[1]}`, true, nil, reports.CodeWrongType}, {`{"dsp1":null}`, true, nil, reports.CodeWrongType},
		{`{"buts":1}`, true, nil, reports.CodeUnknown},
		{"on", true, []displayChange{{"on", true}}, ""}, {" Off\n", true, []displayChange{{"on", false}}, ""}, {"clear", true, []displayChange{{"clear", true}}, ""},
		{"blink", true, nil, reports.CodeBadPayload}, {"", true, nil, reports.CodeBadPayload}, {strings.Repeat("x", displayLongest+1), false, nil, reports.CodeTooLarge},
	} {
		got, err := displayParse([]byte(tt.block), tt.words)
		if reports.CodeOf(err) != tt.code || !slices.Equal(got, tt.want) {
			t.Errorf("displayParse(%.60q, %v) = %v, %v, want %v, %q", tt.block, tt.words, got, err, tt.want, tt.code)
		}
	}
}

func TestTM1638Frames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		was        *tm1638Memory
		next       tm1638Memory
		brightness int
		want       string
	}{
		{"all", nil, tm1638Memory{1, 2, 15: 3}, 1, "40 c001020000000000000000000000000003 88"},
		{"nothing", &tm1638Memory{1}, tm1638Memory{1}, 8, "8f"},
		{"off", &tm1638Memory{1}, tm1638Memory{1}, 0, "80"},
		{"some", &tm1638Memory{}, tm1638Memory{0: 6, 15: 1}, 3, "44 c006 cf01 8a"},
		{"four", &tm1638Memory{}, tm1638Memory{1, 2, 3, 4}, 3, "44 c001 c102 c203 c304 8a"},
		{"many", &tm1638Memory{}, tm1638Memory{1, 2, 3, 4, 5}, 3, "40 c001020304050000000000000000000000 8a"},
	} {
		var got []string
		for _, f := range tm1638Frames(tt.was, tt.next, tt.brightness) {
			got = append(got, hex.EncodeToString(f))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, strings.Join(got, " "), tt.want)
		}
	}
}

// Each of the 24 keys is a bit of its own, and what the chip never answers counts for nothing.
func TestTM1638Keys(t *testing.T) {
	t.Parallel()
	var all uint32
	for i := range 32 {
		var answer [4]byte
		answer[i/8] = 1 << (i % 8)
		keys, ok := tm1638Keys(answer)
		want := uint32(0)
		if k := i % 4; k < 3 {
			want = 1 << (8*k + i%8/4*4 + i/8)
		}
		if !ok || keys != want {
			t.Errorf("bit %d: keys %#x, %v, want %#x", i, keys, ok, want)
		}
		all |= keys
	}
	if all != tm1638KeysMost {
		t.Errorf("all keys are %#x", all)
	}
	if _, ok := tm1638Keys([4]byte{0xFF, 0xFF, 0xFF, 0xFF}); ok {
		t.Error("nothing counts as an answer")
	}
}

func TestTM1638Cells(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1234": "065b4f66", "12.34": "06db4f66", "1,5": "866d", "12:34": "06db4f66", ".5": "806d", "1..2": "86805b", "..": "8080", " .": "80", "-1": "4006", "": "",
		"Öl": "", "K": "75", "k": "75", "Q": "67", "q": "67", "1.": "86", "20°C": "5b3f6339", "\t": "",
	} {
		cells, err := tm1638Cells(text, 4)
		var got []byte
		for _, c := range cells {
			got = append(got, c.segments())
		}
		if hex.EncodeToString(got) != want || (err != nil) != (want == "" && text != "") {
			t.Errorf("%q: %x, %v, want %s", text, got, err, want)
		}
	}
	seen := map[byte]rune{}
	for r := rune('0'); r <= '9'; r++ {
		s, ok := tm1638Glyph(r)
		if other, twice := seen[s]; !ok || twice {
			t.Errorf("%c looks like %c", r, other)
		}
		seen[s] = r
	}
	for r := 'a'; r <= 'z'; r++ {
		_, small := tm1638Glyph(r)
		_, large := tm1638Glyph(r - 'a' + 'A')
		if !small || !large {
			t.Errorf("%c can't be shown", r)
		}
	}
}

func FuzzDisplay(f *testing.F) {
	for _, s := range []string{"12.34", "..1", " .", "dsp1 12345678\nled0 on", `{"dsp1":"1.2.3.4.","dsp2":".","clear":true}`, "on", "°", "\xff", "clear"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, words bool) {
		if cells, err := tm1638Cells(s, tm1638Digits); err == nil {
			text := tm1638Text(cells)
			again, err := tm1638Cells(text, tm1638Digits)
			if err != nil || !cmp.Equal(cells, again, cmp.AllowUnexported(tm1638Cell{})) {
				t.Errorf("%q becomes %q, which is %v, %v, not %v", s, text, again, err, cells)
			}
		}
		changes, err := displayParse([]byte(s), words)
		if err != nil {
			return
		}
		before := displayState{text: [2]string{"1", "2"}, brightness: 5}
		after, err := before.with(changes, 4)
		if err != nil {
			return
		}
		if after.brightness < 0 || after.brightness > tm1638Brightest {
			t.Errorf("%q: brightness %d", s, after.brightness)
		}
		for _, text := range after.text {
			if _, err := tm1638Cells(text, displayHalf); err != nil {
				t.Errorf("%q: %q is shown: %v", s, text, err)
			}
		}
	})
}
