package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rollcall/gpio"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

var update = flag.Bool("update", false, "rewrite golden files")

// wantGolden compares got with a golden file, or writes it with -update.
func wantGolden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
	}
}

// zero2 is the chip of a Pi Zero 2 W with Debian's kernel, which names lines by their function, as the service tells it.
func zero2() map[string]any {
	info := gpio.ChipInfo{Name: "gpiochip0", Label: "pinctrl-bcm2835"}
	names := map[int]string{0: "ID_SDA", 1: "ID_SCL", 2: "SDA1", 3: "SCL1", 4: "GPIO_GCLK", 14: "TXD0", 15: "RXD0", 29: "STATUS_LED_N", 41: "WL_ON"}
	var lines []map[string]any
	for i := range 54 {
		name := names[i]
		if name == "" && i < 28 {
			name = fmt.Sprintf("GPIO%d", i)
		}
		info.Lines = append(info.Lines, gpio.LineInfo{Offset: i, Name: name})
		lines = append(lines, map[string]any{"offset": i, "name": name, "direction": "in", "used": false, "ours": false})
	}
	for i, l := range lines {
		if n := info.HeaderPin(i); n > 0 {
			l["pin"] = n
		}
	}
	for offset, more := range map[int]map[string]any{
		25: {"direction": "out", "used": true, "ours": true, "consumer": "rollcall", "path": "output/pump_drive", "pull": "down"},
		22: {"used": true, "ours": true, "consumer": "rollcall", "path": "input/door", "pull": "up"},
		17: {"direction": "out", "used": true, "consumer": "lirc"},
		2:  {"used": true},
		29: {"direction": "out", "used": true, "consumer": "ACT"},
		41: {"direction": "out", "used": true, "consumer": "reset"},
	} {
		for k, v := range more {
			lines[offset][k] = v
		}
	}
	return map[string]any{"name": info.Name, "label": info.Label, "lines": lines}
}

func marshal(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrintChip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		golden string
		value  json.RawMessage
	}{
		{"chip-zero2.golden", marshal(t, zero2())},
		{"chip-expander.golden", json.RawMessage(`{"name":"gpiochip1","label":"raspberrypi-exp-gpio","lines":[
			{"offset":0,"name":"BT_ON","direction":"out","used":true,"consumer":"shutdown"},
			{"offset":1,"name":"","direction":"in"},
			{"offset":2,"name":"GPIO25","pin":"pin22","direction":"in","ours":true,"used":true,"pull":"none"}]}`)},
		{"chip-hostile.golden", json.RawMessage(`{"name":"x\u001b[2J","label":"\u202ey","lines":[{"offset":-7,"name":"` + strings.Repeat("long ", 100) +
			`","pin":99,"direction":"\n","consumer":"a\tb","path":"\u009b"},{"pin":{"a":1}}]}`)},
		{"chip-empty.golden", json.RawMessage(`{"name":"sim","label":"sim","lines":[]}`)},
	} {
		t.Run(test.golden, func(t *testing.T) {
			t.Parallel()
			c, ok := parseChip(test.value)
			var b bytes.Buffer
			if err := c.print(&b); err != nil || !ok {
				t.Fatalf("print: %v; is a chip: %t", err, ok)
			}
			wantGolden(t, test.golden, b.String())
		})
	}
}

func TestParseChip(t *testing.T) {
	t.Parallel()
	for _, value := range []string{``, `null`, `7`, `"gpiochip0"`, `[]`, `{}`, `{"name":"x"}`, `{"lines":[]}`, `{"name":"x","lines":[7]}`, `{"name":"x","lines":null}`} {
		if c, ok := parseChip([]byte(value)); ok {
			t.Errorf("parseChip(%s) = %+v, want it to be none", value, c)
		}
	}
}

// TestGetChip asks a service for its chip, alone, as JSON, and among all points.
func TestGetChip(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	chip := reports.Reading{Path: pathChip, Value: zero2(), Time: time.Now()}
	door := reports.Reading{Path: "input/door", Value: true, Time: time.Now()}
	serve(t, url, func(c reports.Command) reports.Result {
		if c.Path == pathChip {
			return reports.Done(c, chip)
		}
		return reports.Done(c, map[string]reports.Reading{pathChip: chip, "input/door": door})
	})
	l := newLaptop(t)
	stdout, _ := l.want(exitOK, "get", "--broker="+url, "pizero2/gpio/chip")
	wantGolden(t, "chip-zero2.golden", stdout)

	stdout, _ = l.want(exitOK, "get", "--json", "--broker="+url, "pizero2/gpio/chip")
	var r struct{ Value chipValue }
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Value.Label != "pinctrl-bcm2835" || len(r.Value.Lines) != 54 {
		t.Errorf("get --json: %q, %v, want the value as it is", stdout, err)
	}

	stdout, _ = l.want(exitOK, "get", "--broker="+url, "pizero2/gpio")
	if want := "chip        gpiochip0 (pinctrl-bcm2835): 54 lines, 6 in use, 2 of them by this service  -     "; !strings.Contains(stdout, want) {
		t.Errorf("get of all points: %q, want %q in it", stdout, want)
	}
}

func FuzzPrintChip(f *testing.F) {
	f.Add([]byte(`{"name":"gpiochip0","label":"x","lines":[{"offset":1,"name":"GPIO1","pin":28,"direction":"in","pull":"up","used":true}]}`))
	f.Add([]byte(`{"name":"\u001b","lines":[{"pin":"pin3"},{"pin":3},{"name":"\u202e"}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, ok := parseChip(value)
		if !ok {
			return
		}
		var b bytes.Buffer
		if err := c.print(&b); err != nil {
			t.Fatal(err)
		}
		if s := b.String(); s != cleanDocument(s) || !utf8.ValidString(s) {
			t.Fatalf("print of %q: %q has what moves a terminal's cursor", value, s)
		}
	})
}
