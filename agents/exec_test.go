package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

func execDecode(doc string) (*execOptions, error) {
	o := execFactory().Defaults().(*execOptions)
	node, err := config.ParseNode("exec.yaml", []byte(doc))
	if err == nil {
		err = node.Decode(o)
	}
	return o, err
}

func TestExecOptions(t *testing.T) {
	t.Parallel()
	const ok = "command: [/bin/true]\n"
	for doc, want := range map[string]string{
		"values: {a: {}}":                                 "command: is missing",
		"command: [date]\nvalues: {a: {}}":                `exec.yaml:1: command[0]: "date" is not an absolute path`,
		"command: [/bin/../bin/date]\nvalues: {a: {}}":    "not an absolute path",
		"command: \"/bin/date; reboot\"\nvalues: {a: {}}": "command",
		ok:                                  "values: there are none",
		ok + "output: xml\nvalues: {a: {}}": "not json or value",
		ok + "output: value\nvalues: {a: {}, b: {}}":  "is for one",
		ok + "output: value\nvalues: {a: {field: x}}": "values.a.field: is for output: json",
		ok + "poll: 10ms\nvalues: {a: {}}":            "too often",
		ok + "timeout: 11s\nvalues: {a: {}}":          "at most 10s",
		ok + "poll: 2s\ntimeout: 2s\nvalues: {a: {}}": "at most 1.6s",
		ok + "max_output: 0\nvalues: {a: {}}":         "max_output",
		ok + "accept: []\nvalues: {a: {}}":            "accept",
		ok + "accept: [256]\nvalues: {a: {}}":         "no exit status",
		ok + "dir: tmp\nvalues: {a: {}}":              "not an absolute path",
		ok + "env: {\"A=B\": x}\nvalues: {a: {}}":     "can't be a variable",
		ok + "values: {exit_status: {}}":              "agent's own",
		ok + "values: {get: {}}":                      "word of the interface",
		ok + "values: {a: {type: number}}":            "unknown type",
		ok + "values: {a: {type: enum}}":              "go together",
		ok + "values: {a: {type: bool, unit: V}}":     "only a number has a unit",
		ok + "values: {a: {field: \"/x~2\"}}":         "RFC 6901",
		ok + "values: {a: {}, a/b: {}}":               "lies below it",
		ok + "values: {a: {min: 2, max: 1}}":          "min 2 > max 1",
	} {
		if _, err := execDecode(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", doc, err, want)
		}
	}
}

// execScript writes a program that sh runs.
func execScript(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// execAgentOf makes an agent that runs sh with the script, which must not be a file: one that was just written can't be run
// while another test forks.
func execAgentOf(t *testing.T, script, options string) *execAgent {
	t.Helper()
	doc, err := json.Marshal([]string{"/bin/sh", "-c", script})
	if err != nil {
		t.Fatal(err)
	}
	o, err := execDecode("command: " + string(doc) + "\n" + options)
	if err != nil {
		t.Fatal(err)
	}
	a, err := execFactory().New(o, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]bool{"Setupper": execIs[Setupper](a), "Actuator": execIs[Actuator](a)} {
		if is {
			t.Errorf("the agent is a %s: nothing of MQTT may reach a command", name)
		}
	}
	return a.(*execAgent)
}

func execIs[T any](a Agent) bool { _, ok := a.(T); return ok }

func TestExecJSON(t *testing.T) {
	t.Parallel()
	a := execAgentOf(t, `echo '{"temp": 21.5, "n": 12345678901, "on": true, "mode": "eco", "deep": {"list": [1, {"x/y": "7"}]}, "none": null, "big": 1e999}'`, `
values:
  temp: {unit: "°C", class: temperature}
  n: {type: int}
  "on": {type: bool}
  mode: {type: enum, options: [eco, boost]}
  seven: {field: /deep/list/1/x~1y}
  deep/list: {type: json}
  text: {field: temp, type: string}
  none: {}
  big: {}
  missing: {}
  low: {field: temp, max: 20}
  word: {field: mode}
  third: {field: /deep/list/2}
`)
	var paths []string
	for _, p := range a.Describe().Points {
		paths = append(paths, p.Path)
	}
	readings, err := a.SampleAll(t.Context(), paths)
	got := map[string]any{}
	for _, r := range readings {
		got[r.Path] = r.Value
	}
	want := map[string]any{"temp": 21.5, "n": int64(12345678901), "on": true, "mode": "eco", "seven": 7.0, "text": "21.5", "exit_status": int64(0)}
	for path, v := range want {
		if got[path] != v {
			t.Errorf("%s = %v (%T), want %v", path, got[path], got[path], v)
		}
	}
	if list := reports.FormatValue(got["deep/list"]); list != `[1,{"x/y":"7"}]` || len(got) != len(want)+1 {
		t.Errorf("deep/list = %s, readings %v", list, got)
	}
	for _, part := range []string{
		`none: field "none" is null`, `big: "1e999" is not a value of type float`, `missing: field "missing": there is no "missing"`,
		`low: 21.5 is more than 20`, `word: "eco" is not a value of type float`, `third: field "/deep/list/2": "2" is not one of the 2 of a list`,
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
}

func TestExecOutput(t *testing.T) {
	t.Parallel()
	held, err := os.Create(filepath.Join(t.TempDir(), "held")) // a file of the service, which the command must not get
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	for _, c := range []struct {
		script, options string
		want            any
		err             string
		status          any
	}{
		{"echo '  42.5 '", "output: value\nvalues: {v: {}}", 42.5, "", int64(0)},
		{"echo ON", "output: value\nvalues: {v: {type: bool}}", true, "", int64(0)},
		{"echo toggle", "output: value\nvalues: {v: {type: bool}}", nil, "not a value of type bool", int64(0)},
		{"echo eco", "output: value\nvalues: {v: {type: string}}", "eco", "", int64(0)},
		{"echo 1; echo 2", "output: value\nvalues: {v: {}}", nil, "more than one number or word", int64(0)},
		{":", "output: value\nvalues: {v: {type: string}}", nil, "printed nothing", int64(0)},
		{":", "values: {v: {}}", nil, "printed nothing", int64(0)},
		{"echo nan", "output: value\nvalues: {v: {}}", nil, "not a value of type float", int64(0)},
		{`printf '\377'`, "output: value\nvalues: {v: {type: string}}", nil, "no UTF-8", int64(0)},
		{"echo '[1]'", "values: {v: {}}", nil, "no JSON object", int64(0)},
		{"echo null", "values: {v: {}}", nil, "no JSON object", int64(0)},
		{`echo '{"v": 1} {}'`, "values: {v: {}}", nil, "more than one JSON object", int64(0)},
		{"echo 7; echo 'no sensor' >&2; echo more >&2; exit 3", "output: value\nvalues: {v: {}}", nil, `/bin/sh ends with status 3 and says "no sensor"`, int64(3)},
		{"echo 7; exit 2", "output: value\naccept: [0, 2]\nvalues: {v: {}}", 7.0, "", int64(2)},
		{"kill -SEGV $$", "output: value\nvalues: {v: {}}", nil, "ended by a signal", nil},
		// Nothing of the service's own surroundings: environment, standard input, folder.
		{`read x; echo "$LC_ALL $A $HOME $NOTIFY_SOCKET $(pwd) [$x]"`, "output: value\nenv: {A: \"b c\"}\ndir: /\nvalues: {v: {type: string}}", "C b c   / []", "", int64(0)},
		{`env | cut -d= -f1 | grep -v -e '^_$' -e PWD -e SHLVL | sort | tr '\n' ' '`, "output: value\nvalues: {v: {type: string}}", "LC_ALL PATH", "", int64(0)},
		{`ls -l /proc/self/fd | grep -c ` + held.Name() + ` || true`, "output: value\nvalues: {v: {type: int}}", int64(0), "", int64(0)},
	} {
		a := execAgentOf(t, c.script, c.options)
		readings, err := a.SampleAll(t.Context(), []string{"v", "exit_status"})
		got := map[string]any{}
		for _, r := range readings {
			got[r.Path] = r.Value
		}
		if got["v"] != c.want || got["exit_status"] != c.status {
			t.Errorf("%s: %v, want %v and status %v (%v)", c.script, got, c.want, c.status, err)
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.script, err, c.err)
		}
	}
}

// execAlive reports whether the process runs.
func execAlive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") // an orphan that nobody reaps in a container is dead all the same
}

// execGone waits until the process whose number stands in the file has ended.
func execGone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	late, again := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer late.Stop()
	defer again.Stop()
	for execAlive(pid) {
		select {
		case <-late.C:
			t.Fatalf("process %d of the group still runs", pid)
		case <-again.C:
		}
	}
}

// Whatever way a run ends, nothing of its process group is left, and it ends in time.
func TestExecKillsGroup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, options, err string }{
		"too long":       {"sleep 100 & echo $! >%s; trap '' TERM; sleep 100", "timeout: 300ms\n", "killed: it runs for more than timeout, 300ms"},
		"too much":       {"sleep 100 & echo $! >%s; trap '' PIPE; while :; do echo 0123456789; done", "max_output: 1000\n", "killed: it has printed more than max_output, 1000 bytes"},
		"much to say":    {"sleep 100 & echo $! >%s; trap '' PIPE; while :; do echo 0123456789 >&2; done", "timeout: 300ms\n", "killed: it runs for more than timeout, 300ms"},
		"many of them":   {"sleep 100 & echo $! >%s; i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i+1)); done; sleep 100", "timeout: 300ms\n", "killed: it runs for more than timeout, 300ms"},
		"ends by itself": {"sleep 100 & echo $! >%s; echo 5", "", ""},
		"ends with more": {"sleep 100 & echo $! >%s; echo 01234567890123456789", "max_output: 10\n", "more than max_output"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			a := execAgentOf(t, fmt.Sprintf(c.script, file), "output: value\nvalues: {v: {}}\n"+c.options)
			began := time.Now()
			r, err := a.Sample(t.Context(), "v")
			if c.err == "" && (err != nil || r.Value != 5.0) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, %v, want %q", r.Value, err, c.err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			execGone(t, file)
		})
	}
}

func TestExecCancelled(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	a := execAgentOf(t, "echo up >"+fifo+"; sleep 100", "output: value\nvalues: {v: {}}")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := a.Sample(ctx, "v"); done <- err }()
	if b, err := os.ReadFile(fifo); err != nil || string(b) != "up\n" { // it runs
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := a.Sample(t.Context(), "v"); err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("a second run beside the first: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A process that has left the group holds the output open: the run ends all the same, and what was printed counts.
func TestExecEscaped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	a := execAgentOf(t, "setsid sh -c 'echo $$ >"+file+".new; mv "+file+".new "+file+"; exec sleep 100' & while [ ! -e "+file+" ]; do sleep 0.01; done; echo 5",
		"output: value\nvalues: {v: {}}")
	began := time.Now()
	r, err := a.Sample(t.Context(), "v")
	if took := time.Since(began); err != nil || r.Value != 5.0 || took > 30*time.Second {
		t.Errorf("%v, %v after %v", r.Value, err, took)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the escaped process: %v", err)
	}
}

func TestExecProgram(t *testing.T) {
	t.Parallel()
	path := execScript(t, "echo 1")
	open := func() error {
		o, err := execDecode("command: [" + path + "]\noutput: value\nvalues: {v: {}}")
		if err == nil {
			_, err = execFactory().New(o, Deps{})
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "chmod +x", 0o777: "chmod o-w"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mode %v: %v, want %q", mode, err, want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "there is no program") {
		t.Errorf("without the program: %v", err)
	}
	// It is removed while the agent runs, and put back.
	a := execAgentOf(t, "echo 1", "output: value\nvalues: {v: {}}")
	a.o.Command[0] = path
	if _, err := a.Sample(t.Context(), "v"); err == nil || !strings.Contains(err.Error(), "there is no program") {
		t.Errorf("removed while it is in use: %v", err)
	}
	a.o.Command[0] = "/bin/sh"
	if r, err := a.Sample(t.Context(), "v"); err != nil || r.Value != 1.0 {
		t.Errorf("put back: %v, %v", r.Value, err)
	}
}

func FuzzExecOutput(f *testing.F) {
	for _, s := range []string{"", "5", " 21.5\n", "ON", "toggle", `{"a": 1}`, `{"a": {"b": [1, null, "x"]}}`, `{"a": 1e400}`, "null", "{} {}", "\xff", strings.Repeat("[", 99)} {
		f.Add([]byte(s), "a", uint8(0))
		f.Add([]byte(s), "/a/b/0", uint8(3))
	}
	types := []reports.Type{reports.Bool, reports.Int, reports.Float, reports.String, reports.Enum, reports.JSON}
	f.Fuzz(func(t *testing.T, out []byte, field string, kind uint8) {
		p := reports.Point{Path: "v", Type: types[int(kind)%len(types)]}
		if p.Type == reports.Enum {
			p.Options = []string{"x", "5"}
		}
		for _, read := range []func() (any, error){
			func() (any, error) { return execText(out) },
			func() (any, error) { v, err := execObject(out); return v, err },
		} {
			doc, err := read()
			if err != nil {
				continue
			}
			v, err := execPick(p, doc, field)
			if err != nil {
				continue
			}
			if again, err := p.ParseValue(v); err != nil || p.Type != reports.JSON && again != v {
				t.Errorf("%q, %q as %s gives %v, which is not a value of the point: %v", out, field, p.Type, v, err)
			}
		}
	})
}

// TestExecOften has a point asked for far more often than the agent takes: the program is not started for each.
func TestExecOften(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "runs")
	a := execAgentOf(t, "echo x >>"+file+"; echo 5", "output: value\nvalues: {v: {}}")
	began := time.Now()
	const reads = 100
	for range reads {
		if r, err := a.Sample(t.Context(), "v"); err != nil || r.Value != 5.0 {
			t.Fatalf("%v, %v", r.Value, err)
		}
	}
	b, err := os.ReadFile(file)
	if most := 1 + int(time.Since(began)/(execLeastPoll*9/10)); err != nil || len(b)/2 > most {
		t.Errorf("%d reads made %d runs, want %d at most, %v", reads, len(b)/2, most, err)
	}
}
