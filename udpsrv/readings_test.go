package main

import (
	"bytes"
	"testing"
	"time"
)

func TestPrintReadings(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, path, data, want string }{
		{"one", "load/1m", `{"path":"load/1m","value":0.10,"unit":"","time":"2026-11-22T11:59:58Z"}`, "0.10\n"},
		{"text", "a", `{"path":"a","value":"ON","time":"2026-11-22T11:59:58Z"}`, "ON\n"},
		{"object", "a", `{"path":"a","value":{"b": [1, 2]},"time":"2026-11-22T11:59:58Z"}`, `{"b":[1,2]}` + "\n"},
		{"big number", "a", `{"path":"a","value":9007199254740993}`, "9007199254740993\n"},
		{"hostile", "a", `{"path":"a","value":"x\u001b[2J\n"}`, `x\x1b[2J\n` + "\n"},
		{"bare", "a", `42`, "42\n"},
		{"bare text", "a", `"forty two"`, "forty two\n"},
		{"list", "", `[1,2]`, "[1,2]\n"},
		{"branch of one point that was asked for", "a", `{"a":{"path":"a","value":7}}`, "7\n"},
		{"branch", "load", `{"load/5m":{"path":"load/5m","value":1.5,"unit":"x","time":"2026-11-22T11:59:58Z"},
			"load/1m":{"path":"load/1m","value":"ON","time":"2026-11-22T11:58:00Z","stale":true}}`,
			"PATH     VALUE  UNIT  AGE\nload/1m  ON     -     2m0s (stale)\nload/5m  1.5    x     2s\n"},
		{"list of readings", "", `[{"path":"a","value":1,"time":"2026-11-22T12:00:09Z"},{"path":"b\u001b","value":""}]`,
			"PATH   VALUE  UNIT  AGE\na      1      -     0s\n" + `b\x1b  -      -     -` + "\n"},
		{"values by path", "", `{"b":2,"a":"x"}`, "PATH  VALUE  UNIT  AGE\na     x      -     -\nb     2      -     -\n"},
		{"nothing", "", `{}`, "PATH  VALUE  UNIT  AGE\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := printReadings(&b, c.path, []byte(c.data), now); err != nil || b.String() != c.want {
				t.Errorf("got %q, %v, want %q", b.String(), err, c.want)
			}
		})
	}
}

func FuzzPrintReadings(f *testing.F) {
	f.Add("a", []byte(`{"a":{"path":"a","value":7}}`))
	f.Add("", []byte(`[{"path":"a","value":null}]`))
	f.Add("x", []byte(`{"path":"x","value":"\u009b"}`))
	f.Add("", []byte(nil))
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		var b bytes.Buffer
		if err := printReadings(&b, path, data, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r == 0x1b || r == 0x9b {
				t.Fatalf("printReadings(%q) = %q: raw control character", data, b.String())
			}
		}
	})
}

func TestPrintText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"outputs:\n  pump: {pin: 25}\n"`: "outputs:\n  pump: {pin: 25}\n",
		`"no end of line"`:                "no end of line",
		`{"outputs":{}}`:                  `{"outputs":{}}` + "\n",
		`"a: \u001b[2J\n"`:                `a: \x1b[2J` + "\n",
	} {
		var b bytes.Buffer
		if err := printText(&b, []byte(in)); err != nil || b.String() != want {
			t.Errorf("printText(%s) = %q, %v, want %q", in, b.String(), err, want)
		}
	}
}
