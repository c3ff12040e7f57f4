package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// displaySet sets a point and returns what is read back.
func displaySet(t *testing.T, a Agent, path string, v any) any {
	t.Helper()
	r, err := a.(Actuator).Apply(t.Context(), reports.Command{Verb: "set", Path: path, Value: v})
	if err != nil {
		return reports.CodeOf(err) + ": " + err.Error()
	}
	return r.Value
}

func displayGet(t *testing.T, a Agent, path string) any {
	t.Helper()
	r, err := a.(Sampler).Sample(t.Context(), path)
	if err != nil {
		return "error: " + err.Error()
	}
	return r.Value
}

// displayEvent waits for the next event.
func displayEvent(t *testing.T, a Agent) string {
	t.Helper()
	select {
	case r, ok := <-a.(Notifier).Events():
		if !ok {
			return "end"
		}
		return r.Path + " " + reports.FormatValue(r.Value)
	case <-time.After(featurePatience):
		t.Fatal("no event comes")
		return ""
	}
}

// displayUntil waits until something is so, as looks at the buttons go by.
func displayUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), featurePatience)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never comes to this: %s", what)
		}
	}
}

// The wires carry what the chip understands, from the start to the end.
func TestDisplayWires(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	a, err := iioStart(t, displayFactory(), displayOn3, d)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, memory tm1638Memory, control byte) {
		t.Helper()
		c.with(func() {
			if c.memory != memory || c.control != control {
				t.Errorf("%s: memory %x, control %#x, want %x, %#x", when, c.memory, c.control, memory, control)
			}
		})
	}
	want("start", tm1638Memory{}, 0x8A)
	for _, s := range []struct {
		path  string
		value any
		back  any
	}{
		{"dsp1", "12.34", "12.34"}, {"dsp2", "-5°C", "-5°C"}, {"led0", true, true}, {"led7", true, true}, {"brightness", int64(8), int64(8)},
	} {
		if got := displaySet(t, a, s.path, s.value); got != s.back {
			t.Errorf("set %s %v reads back %v, want %v", s.path, s.value, got, s.back)
		}
	}
	shown := tm1638Memory{0x06, 1, 0x5B | 0x80, 0, 0x4F, 0, 0x66, 0, 0x40, 0, 0x6D, 0, 0x63, 0, 0x39, 1}
	want("set", shown, 0x8F)
	displaySet(t, a, "brightness", int64(0))
	want("off", shown, 0x80)
	if got := displaySet(t, a, "dsp1", "Hello.A"); got != "Hell" {
		t.Errorf("a long text reads back %v", got)
	}
	if got := displayEvent(t, a); got != "dsp2 o.A" || displayGet(t, a, "dsp2") != "o.A" {
		t.Errorf("the rest of it: event %s, value %v", got, displayGet(t, a, "dsp2"))
	}
	want("text", tm1638Memory{0x76, 1, 0x79, 0, 0x38, 0, 0x38, 0, 0x5C | 0x80, 0, 0x77, 0, 0, 0, 0, 1}, 0x80)
	for _, s := range []struct {
		path  string
		value any
		want  string
	}{
		{"dsp1", "123456789", reports.CodeOutOfRange}, {"dsp2", "12345", reports.CodeOutOfRange}, {"dsp1", "50 %", reports.CodeOutOfRange},
		{"dsp1", strings.Repeat("x", 65), reports.CodeOutOfRange}, {"led8", true, reports.CodeUnknown}, {"buts", int64(1), reports.CodeUnknown},
		{"dsp1", true, reports.CodeUnknown}, {"led0", "ON", reports.CodeUnknown}, {"dsp1", nil, reports.CodeUnknown},
	} {
		if got, _ := displaySet(t, a, s.path, s.value).(string); !strings.HasPrefix(got, s.want+": ") {
			t.Errorf("set %s %v: %s, want %s", s.path, s.value, got, s.want)
		}
	}
	want("refused", tm1638Memory{0x76, 1, 0x79, 0, 0x38, 0, 0x38, 0, 0x5C | 0x80, 0, 0x77, 0, 0, 0, 0, 1}, 0x80)
	displaySet(t, a, "brightness", int64(2))
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	c.with(func() {
		if c.control != 0x80 {
			t.Errorf("closed: control %#x, want it off", c.control)
		}
	})
	if got, _ := displaySet(t, a, "led0", true).(string); !strings.HasPrefix(got, reports.CodeOffline) {
		t.Errorf("set after Close: %v", got)
	}
}

// Each button is told of when it goes down and when it comes up, and what is down is a sum.
func TestDisplayButtons(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		c, d := newTM1638Chip(t)
		if pull { // an old kernel, and the module's own pull-up
			c.board.Lack(gpio.FeatureBias)
			c.with(func() { c.pull = true; c.release() })
		}
		a, err := iioStart(t, displayFactory(), displayOn3, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []struct {
			answer [4]byte
			want   string
		}{
			{[4]byte{0x01}, "buts 1"}, {[4]byte{0x01, 0, 0x01}, "buts 5"}, {[4]byte{0, 0, 0, 0x10}, "buts 128"}, {[4]byte{0x11, 0x11, 0x11, 0x11}, "buts 255"},
			{[4]byte{0x02}, "buts 256"}, {[4]byte{0, 0, 0, 0x40}, "buts 8388608"}, {[4]byte{0x77, 0x77, 0x77, 0x77}, "buts 16777215"}, {[4]byte{}, "buts 0"},
		} {
			c.with(func() { c.answer = s.answer })
			if got := displayEvent(t, a); got != s.want {
				t.Errorf("answer %x: event %s, want %s", s.answer, got, s.want)
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if got := displayEvent(t, a); got != "end" {
			t.Errorf("after Close: event %s", got)
		}
	}
}

// A display that loses its supply is an error of every point until it is back, and then shows again what it did.
func TestDisplayUnplugged(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	a, err := iioStart(t, displayFactory(), displayOn3, d)
	if err != nil {
		t.Fatal(err)
	}
	displaySet(t, a, "dsp1", "8")
	c.power(false)
	displayUntil(t, "an error", func() bool { return strings.Contains(fmt.Sprint(displayGet(t, a, "dsp1")), "no TM1638 answers") })
	if got, _ := displaySet(t, a, "dsp1", "9").(string); !strings.HasPrefix(got, reports.CodeDevice+": no TM1638 answers") {
		t.Errorf("set: %v", got)
	}
	c.power(true)
	displayUntil(t, "the value", func() bool { return displayGet(t, a, "dsp1") == "8" })
	displayUntil(t, "the digit", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.memory == tm1638Memory{0x7F} && c.control == 0x8A
	})
}

// Without buttons it is only written to, and written to again every so often.
func TestDisplayWithoutScan(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	a, err := iioStart(t, displayFactory(), "{chip: bank, stb: 17, clk: 27, dio: 22, scan: 0s, poll: 10ms}", d)
	if err != nil {
		t.Fatal(err)
	}
	displaySet(t, a, "dsp1", "8")
	c.power(false)
	c.power(true)
	displayUntil(t, "the digit", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.memory[0] == 0x7F && c.control == 0x8B && c.asked == 0
	})
}

// When the GPIO chip is gone, the agent says so and is to be made anew.
func TestDisplayChipGone(t *testing.T) {
	t.Parallel()
	for _, options := range []string{displayOn3, "{chip: bank, stb: 17, clk: 27, dio: 22, scan: 0s, poll: 10ms}"} {
		c, d := newTM1638Chip(t)
		a, err := iioStart(t, displayFactory(), options, d)
		if err != nil {
			t.Fatal(err)
		}
		c.board.Unplug()
		if got := displayEvent(t, a); got != "end" {
			t.Errorf("event %s", got)
		}
		if err := a.(Failer).Err(); !errors.Is(err, gpio.ErrGone) {
			t.Errorf("Err = %v", err)
		}
		if got := displayGet(t, a, "dsp1"); !strings.Contains(fmt.Sprint(got), "gone") {
			t.Errorf("dsp1 is %v", got)
		}
		if got, _ := displaySet(t, a, "led0", true).(string); !strings.HasPrefix(got, reports.CodeDevice) {
			t.Errorf("set: %v", got)
		}
	}
}

// TestDisplayGoneForGood wants a set refused after the end of the events, even if a bus that was gone works again.
func TestDisplayGoneForGood(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	agent, err := iioStart(t, displayFactory(), displayOn3, d)
	if err != nil {
		t.Fatal(err)
	}
	a := agent.(*display)
	c.board.Unplug()
	if got := displayEvent(t, a); got != "end" {
		t.Errorf("event %s", got)
	}
	a.mu.Lock()
	gone := a.bus
	a.bus, a.fault = displayNothing{}, nil
	a.mu.Unlock()
	if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte("brightness 3")}); !errors.Is(err, gpio.ErrGone) {
		t.Errorf("brightness: %v, want ErrGone", err)
	}
	if err := gone.close(); err != nil {
		t.Error(err)
	}
}

func TestDisplayNotThere(t *testing.T) {
	t.Parallel()
	c, d := newTM1638Chip(t)
	c.power(false)
	if _, err := iioStart(t, displayFactory(), displayOn3, d); !errors.Is(err, errDisplayMute) {
		t.Errorf("without a chip: %v", err)
	}
	c.power(true)
	c.board.Hog(displayDIO, "spi0")
	if _, err := iioStart(t, displayFactory(), displayOn3, d); err == nil || !strings.Contains(err.Error(), "dio: ") || !strings.Contains(err.Error(), "spi0") {
		t.Errorf("with a line that another has: %v", err)
	}
	c.board.Hog(displayDIO, "")
	a, err := iioStart(t, displayFactory(), displayOn3, d) // all lines were given back
	if err != nil || a == nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestDisplayBadOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"scan: 50ms":                                 "options.yaml:1: stb: the line must be named, such as 17, GPIO17 or pin11",
		"stb: 1\nclk: 1\ndio: 2":                     "options.yaml:2: clk: \"1\" is line 1, which stb has already",
		"sim: true\nstb: 1":                          "options.yaml:2: stb: a display that is made up (sim) has no lines",
		"sim: true\nbrightness: 9":                   "options.yaml:2: brightness: 9 is not from 0 to 8",
		"sim: true\nscan: 1ms":                       "options.yaml:2: scan: 1ms is too often, at least 10ms is needed",
		"sim: true\npoll: 0s":                        "options.yaml:2: poll: 0s is too often, at least 10ms is needed",
		"sim: true\ntopics: {display: \"/+/x\"}":     "options.yaml:2: topics.display: ",
		"sim: true\ntopics: {control: /display}":     "options.yaml:2: topics.display: is the topic of control already",
		"sim: true\ntopics: {display: /x, buts: /x}": "options.yaml:2: topics.display: is the topic of buts already",
		"sim: true\ntopic: /x":                       "options.yaml:2: topic: unknown key",
	} {
		if _, err := iioStart(t, displayFactory(), options, Deps{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", options, err, want)
		}
	}
	if _, err := displayFactory().New(&gpioOptions{}, Deps{}); err == nil {
		t.Error("the options of another agent are taken")
	}
}

// In memory it is the same to whoever uses it, without buttons.
func TestDisplaySimulated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, err := iioStart(t, displayFactory(), "sim: true", Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if !a.Describe().Simulated || displayGet(t, a, "brightness") != int64(4) || displaySet(t, a, "dsp1", "12345678") != "1234" || displayGet(t, a, "dsp2") != "5678" {
			t.Errorf("simulated %v, dsp2 %v", a.Describe().Simulated, displayGet(t, a, "dsp2"))
		}
		if r, err := a.(Actuator).Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(`{"id":7,"clear":true,"led3":"TOGGLE","dsp2":12.5}`)}); err != nil || r.Path != "" {
			t.Errorf("control: %+v, %v", r, err)
		}
		if got := []any{displayGet(t, a, "dsp1"), displayGet(t, a, "dsp2"), displayGet(t, a, "led3")}; !slices.Equal(got, []any{"", "12.5", true}) {
			t.Errorf("after control: %v", got)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}
