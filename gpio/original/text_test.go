package original

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/gpio"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// asked is the block of PROTOCOL.md §4 as the original sends it.
const asked = "output\n  name pump_drive\n  pin  25\n  init 0\n  pull down\n  single\n"

func TestParse(t *testing.T) {
	t.Parallel()
	pump := Block{Kind: Output, Line: 1, Name: "pump_drive", Pin: "25", Initial: "off", Pull: gpio.PullDown, Single: true}
	tests := map[string]struct {
		doc  string
		want []Block
	}{
		"the original's": {asked, []Block{pump}},
		"CRLF":           {strings.ReplaceAll(asked, "\n", "\r\n"), []Block{pump}},
		"byte order mark, tabs and no end of line": {
			"\uFEFFoutput\n\tname\t\tpump_drive \n\tpin\t25\n\tinit\u00a00\n\tpull down\n\tsingle", []Block{pump}},
		"comments":         {"# first\noutput # what\n#\nname pump # x\npin 25#\n", []Block{{Kind: Output, Line: 2, Name: "pump", Pin: "25#"}}},
		"no comment after": {"output\nname pump#x\npin 25\n", nil},
		"one of each, separated in both ways, and not": {
			"# set-up\n\noutput\n name a\n pin GPIO4\n\npwm\n name b\n pin pin12\n---\n---\ninput\n name c\n pin SDA1 # the bus\noutput\n name d\n pin RST#\n",
			[]Block{{Kind: Output, Line: 3, Name: "a", Pin: "GPIO4"}, {Kind: PWM, Line: 7, Name: "b", Pin: "pin12"},
				{Kind: Input, Line: 12, Name: "c", Pin: "SDA1"}, {Kind: Output, Line: 15, Name: "d", Pin: "RST#"}}},
		"blank line within a block": {"input\n\n name c\n\n pin 3", []Block{{Kind: Input, Line: 1, Name: "c", Pin: "3"}}},
		"everything of an output": {
			"OUTPUT\nName a\nPIN 4\ninitial Restore\nactive_low yes\nType OC\nsingle true\npulse 1500 ms\nmaxOn 1m30s\nPull_Up_Down PullNone",
			[]Block{{Kind: Output, Line: 1, Name: "a", Pin: "4", Initial: "restore", Inverted: true, Drive: gpio.OpenDrain, Single: true,
				Pulse: 1500 * time.Millisecond, MaxOn: 90 * time.Second, Pull: gpio.PullNone}}},
		"everything of a pwm": {"pwm\nname a\npin 18\ninit 12.5 %\nperiod 20000\npol inv",
			[]Block{{Kind: PWM, Line: 1, Name: "a", Pin: "18", Percent: 12.5, Period: 20 * time.Millisecond, Inverted: true}}},
		"everything of an input": {
			"input\nname a\npin 22\npull up\nactive-low\non_change /stat/door\nscan 0.5\ndebounce 5ms\nedge rising\ncount on",
			[]Block{{Kind: Input, Line: 1, Name: "a", Pin: "22", Pull: gpio.PullUp, Inverted: true, OnChange: "/stat/door",
				Scan: 500 * time.Millisecond, Debounce: 5 * time.Millisecond, Edge: "rising", Count: true}}},
		"flags off": {"output\nname a\npin 1\nsingle 0\nactive_low off\nmax_on 0",
			[]Block{{Kind: Output, Line: 1, Name: "a", Pin: "1"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse([]byte(test.doc))
			if diff := diffBlocks(test.want, got); diff != "" || (err != nil) != (test.want == nil) {
				t.Errorf("Parse(%q): %v, -want +got:\n%s", test.doc, err, diff)
			}
			if !IsBlocks([]byte(test.doc)) {
				t.Errorf("IsBlocks(%q) = false, want true", test.doc)
			}
		})
	}
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	output := func(b Block) Block {
		b.Kind, b.Line, b.Name, b.Pin = Output, 1, "a", "1"
		return b
	}
	pwm := func(b Block) Block {
		b.Kind, b.Line, b.Name, b.Pin = PWM, 1, "a", "1"
		return b
	}
	input := func(b Block) Block {
		b.Kind, b.Line, b.Name, b.Pin = Input, 1, "a", "1"
		return b
	}
	tests := []struct {
		lines string // joined by |
		want  Block
	}{
		{"init 1|init on|init ON|init true|init 100%|initial 1", output(Block{Initial: "on"})},
		{"init 0|init off|init False|init 0%", output(Block{Initial: "off"})},
		{"init keep|initial Keep", output(Block{Initial: "keep"})},
		{"pull up|pull UP|pull PullUp|pull pull_up|pull pull-up|pull pull up|pud PUD_UP", output(Block{Pull: gpio.PullUp})},
		{"pull none|pull off|pull PUD_OFF|pull no", output(Block{Pull: gpio.PullNone})},
		{"pol inv|pol inverted|active_low|active_low 1|active-low|activelow on|inverted|invert yes", output(Block{Inverted: true})},
		{"pol norm|pol normal|active_low 0|pol off", output(Block{})},
		{"drive open-drain|drive OD|drive open_collector|drive open drain|drive OC", output(Block{Drive: gpio.OpenDrain})},
		{"drive push-pull|drive pp|drive PushPull", output(Block{Drive: gpio.PushPull})},
		{"drive open-source|drive os", output(Block{Drive: gpio.OpenSource})},
		{"pulse 2s|pulse 2000ms|pulse 2.0s|pulse 2 s", output(Block{Pulse: 2 * time.Second})},
		{"init on|init 100|init 100 %|init 100.0|init true", pwm(Block{Percent: 100})},
		{"init 1|init 1%|init 1.0", pwm(Block{Percent: 1})},
		{"init 0|init off|init 0%|init no", pwm(Block{})},
		{"period 1000|period 1000us|period 1000µs|period 1ms|period 1000 us|period 1000.0", pwm(Block{Period: time.Millisecond})},
		{"on_change|on_change on|on_change true|onchange 1|on-change YES", input(Block{OnChange: "true"})},
		{"on_change off|on_change 0", input(Block{OnChange: "false"})},
		{"on_change stat/my door", input(Block{OnChange: "stat/my door"})},
		{"scan 10|scan 10s|scan 10.0|scan 10000ms", input(Block{Scan: 10 * time.Second})},
		{"scan 0|scan 0s|debounce 0", input(Block{})},
	}
	for _, test := range tests {
		for line := range strings.SplitSeq(test.lines, "|") {
			doc := fmt.Sprintf("%s\nname a\npin 1\n%s", test.want.Kind, line)
			got, err := Parse([]byte(doc))
			if diff := diffBlocks([]Block{test.want}, got); err != nil || diff != "" {
				t.Errorf("Parse(%q): %v, -want +got:\n%s", doc, err, diff)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	with := func(kind Kind, line string) string { return fmt.Sprintf("%s\nname a\npin 1\n%s\n", kind, line) }
	tests := map[string]struct{ doc, want string }{
		"nothing":              {"", "there is no block; one begins with output, pwm or input"},
		"comments only":        {"# a\n---\n", "there is no block; one begins with output, pwm or input"},
		"unknown kind":         {"\noutptu\n name x", `line 2: "outptu" is no kind of block; did you mean output? known are output, pwm, input`},
		"key without block":    {"input\nname a\npin 1\n---\nscan 5", `line 5: "scan" is no kind of block; known are output, pwm, input`},
		"words behind a kind":  {"output pump", `line 1: output: "pump" stands behind it; its keys stand in lines of their own`},
		"name missing":         {"\noutput\npin 1", "line 2: output: name is missing"},
		"pin missing":          {"input\nname a", "line 1: input a: pin is missing"},
		"no keys":              {"input\nname a\npin 1\npwm", "line 4: pwm: name is missing"},
		"unknown key":          {with(Output, "pul down"), `line 4: output knows no key "pul"; did you mean pull? known are name, pin, pol, pull, init, drive, single, pulse, max_on`},
		"key with a colon":     {with(Output, "pull: down"), `line 4: output knows no key "pull:"; did you mean pull? known are name, pin, pol, pull, init, drive, single, pulse, max_on`},
		"key of another kind":  {with(PWM, "scan 5"), `line 4: pwm knows no key "scan"; known are name, pin, pol, init, period`},
		"very long key":        {with(PWM, strings.Repeat("é", 300)), `line 4: pwm knows no key "` + strings.Repeat("é", 30) + `"…; known are name, pin, pol, init, period`},
		"key twice":            {with(Input, "scan 5\nscan 6"), "line 5: scan stands twice; first in line 4"},
		"key twice, otherwise": {with(Input, "pol inv\nactive_low"), "line 5: pol stands twice; first in line 4"},
		"no value":             {with(Input, "scan"), "line 4: scan has no value"},
		"name twice":           {"input\nname a\npin 1\npwm\nname a\npin 2", "line 4: name: a stands twice; first in line 1"},
		"pin twice":            {"input\nname a\npin gpio1\npwm\nname b\npin GPIO1", `line 4: pwm b: pin: "GPIO1" stands twice; first in line 1`},
		"bad name":             {"input\nname a/b", `line 2: name: name "a/b": only A-Z, a-z, 0-9, _ and - are allowed`},
		"long pin":             {"input\nname a\npin " + strings.Repeat("1", 65), `line 3: pin: "` + strings.Repeat("1", 60) + `"… has 65 bytes, at most 64 are possible`},
		"pin with a tab":       {"input\nname a\npin a\tb", `line 3: pin: "a\tb" is no pin: it is 25, GPIO25, pin22 (header position) or the name of a line`},
		"bad init":             {with(Output, "init onn"), `line 4: init: "onn" is not off, on, keep or restore; did you mean on?`},
		"init in percent":      {with(Output, "init 20"), `line 4: init: "20" is not off, on, keep or restore`},
		"init beyond 100":      {with(PWM, "init 100.1"), `line 4: init: "100.1" is not a number of percent from 0 to 100`},
		"init below 0":         {with(PWM, "init -1"), `line 4: init: "-1" is not a number of percent from 0 to 100`},
		"init nan":             {with(PWM, "init NaN"), `line 4: init: "NaN" is not a number of percent from 0 to 100`},
		"bad pull":             {with(Input, "pull upp"), `line 4: pull: "upp" is not up, down or none; did you mean up?`},
		"empty pull":           {with(Input, "pull -"), `line 4: pull: "-" is not up, down or none`},
		"bad pol":              {with(PWM, "pol 2"), `line 4: pol: "2" is not norm or inv`},
		"bad drive":            {with(Output, "drive led"), `line 4: drive: "led" is not push-pull, open-drain or open-source`},
		"bad flag":             {with(Output, "single twice"), `line 4: single: "twice" is not on or off`},
		"bad edge":             {with(Input, "edge raising"), `line 4: edge: "raising" is not both, rising or falling; did you mean rising?`},
		"pulse without a unit": {with(Output, "pulse 500"), `line 4: pulse: "500" has no unit: say 500ms or 500s`},
		"no pulse":             {with(Output, "pulse 0"), `line 4: pulse: "0" is too short`},
		"no period":            {with(PWM, "period 0"), `line 4: period: "0" is too short`},
		"negative time":        {with(Input, "scan -5s"), `line 4: scan: "-5s" is negative`},
		"negative number":      {with(Input, "scan -5"), `line 4: scan: "-5" is no time like 500us, 20ms, 5s or 1m30s`},
		"endless time":         {with(Input, "scan 999999999999999999"), `line 4: scan: "999999999999999999" is longer than ten years`},
		"overflowing time":     {with(Input, "scan 9999999999h"), `line 4: scan: "9999999999h" is no time like 500us, 20ms, 5s or 1m30s`},
		"no time":              {with(Input, "scan soon"), `line 4: scan: "soon" is no time like 500us, 20ms, 5s or 1m30s`},
		"topic with wildcard":  {with(Input, "on_change a/+"), `line 4: on_change: topic "a/+" has a wildcard`},
		"no UTF-8":             {"input\nname \xff", "line 2: byte 0xff is not UTF-8"},
		"NUL":                  {"input\nname \x00", "line 2: character U+0000 is not allowed"},
		"line separator":       {"input\u2028name a", "line 1: character U+2028 is not allowed"},
		"too long":             {asked + strings.Repeat(" ", config.MaxBytes), "has 65601 bytes, at most 65536 are allowed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse([]byte(test.doc))
			if got != nil || err == nil || err.Error() != test.want {
				t.Errorf("Parse = %v, error\n%v, want\n%v", got, err, test.want)
			}
		})
	}
}

func TestParseBoundsBlocks(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	for i := range MaxBlocks {
		fmt.Fprintf(&doc, "input\nname n%d\npin %d\n", i, i)
	}
	if got, err := Parse([]byte(doc.String())); len(got) != MaxBlocks || err != nil {
		t.Errorf("Parse of %d blocks = %d blocks, %v", MaxBlocks, len(got), err)
	}
	doc.WriteString("input\nname more\npin more\n")
	want := "line 769: there are more than 256 blocks"
	if got, err := Parse([]byte(doc.String())); got != nil || err == nil || err.Error() != want {
		t.Errorf("Parse of one more = %d blocks, %v, want %s", len(got), err, want)
	}
}

func TestIsBlocks(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		asked: true, "outputs": true, "Input\n": true, "imput\n name a": true, "---\noutput": true, "pwm a": true,
		"": false, "# input": false, "output:\n  name: a": false, "output :": false, "outputs:\n  pump: {pin: 25}": false,
		"chip: sim": false, "verb: toggle\npath: output/a": false, `{"verb":"toggle"}`: false, `{"outputs":{}}`: false,
		"toggle": false, "pulse": false, "blink": false, "release": false, "poll": false, "refresh": false, "on": false, "ON\n": false,
		"toggle output/a": false, "\xff": false, "- output": false,
		strings.Repeat("x", 1<<20): false,
	}
	for doc, want := range tests {
		if got := IsBlocks([]byte(doc)); got != want {
			t.Errorf("IsBlocks(%.60q) = %v, want %v", doc, got, want)
		}
	}
}

// diffBlocks compares blocks, but for where their keys stand.
func diffBlocks(want, got []Block) string {
	return cmp.Diff(want, got, cmpopts.IgnoreFields(Block{}, "Says"))
}

// A block says which keys it has, by the name that each has in the end.
func TestSays(t *testing.T) {
	t.Parallel()
	for _, parse := range []func() ([]Block, error){
		func() ([]Block, error) { return Parse([]byte("output\nname a\npin 1\ninitial 0\nmax_on 0")) },
		func() ([]Block, error) { return ParsePins([]byte("a: {Dir: Output, Pin: 1, Value: 0, PD: none}")) },
	} {
		blocks, err := parse()
		if err != nil || len(blocks) != 1 {
			t.Fatalf("%v, %v", blocks, err)
		}
		says := blocks[0].Says
		if says["init"] == 0 || says["pin"] == 0 || says["max_on"]+says["pull"] == 0 || says["drive"] != 0 {
			t.Errorf("says %v", says)
		}
	}
}
