package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The exec agent runs a command of the admin's at each poll and publishes what it prints: a JSON object, of which each value
// takes a field, or one number or word.
//
// The command stands in the configuration file and nowhere else: nothing that comes over MQTT can change it, or reaches it. It
// is run without a shell, as the service's own user, one run at a time, with nothing but the environment of the options, with
// nothing to read, and with bounds on time and output; when it has ended, or must, everything in its process group is killed.

func execFactory() Factory {
	return Factory{
		Name:   "exec",
		Doc:    "What a command of the admin's prints: fields of a JSON object, or one number or word.",
		Wiring: execWiring,
		Example: "command: [/bin/echo, '{\"tank\": {\"level\": 71.5, \"pump\": true}}']\nvalues:\n" +
			"  level: {field: /tank/level, type: float, unit: \"%\", min: 0, max: 100}\n  pump: {field: /tank/pump, type: bool}\n",
		Defaults: func() Options {
			return &execOptions{Poll: reports.Duration(time.Minute), MaxOutput: 64 << 10,
				Output: execJSON, Dir: "/", Accept: []int{0}}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*execOptions)
			if !ok {
				return nil, fmt.Errorf("exec: options are a %T", o)
			}
			return newExec(*opts, d.Log, execRun)
		},
	}
}

// execWiring is Factory.Wiring.
const execWiring = `The command runs as the service's user (rollcall) inside of the sandbox of its unit: sudo and setuid programs do not work,
and the file system is read-only. What it needs beyond that (a group, a device) goes into a drop-in of its own agent@NAME.service. It
must not be writable for everyone, and should stay in the foreground: whatever it leaves behind in its process group is killed when it
ends. What leaves the group (setsid, a daemon) is not: it goes on until it ends by itself or, under systemd, with the unit. For a shell's words, write a script and name that.`

// execOptions are the options of the exec agent.
type execOptions struct {
	Command   []string             `yaml:"command" doc:"the program, by its absolute path, and its arguments; no shell reads them"`
	Values    map[string]execValue `yaml:"values" doc:"the points, by name"`
	Output    string               `yaml:"output" doc:"json: an object, or value: one number or word, for the only entry of values"`
	Poll      reports.Duration     `yaml:"poll" doc:"how often it is run"`
	Timeout   reports.Duration     `yaml:"timeout" doc:"how long it may run before it is killed with what it has started in its process group; default: 5s, or four fifths of poll where that is less"`
	MaxOutput int                  `yaml:"max_output" doc:"bytes that it may print; with more it is killed"`
	Accept    []int                `yaml:"accept" doc:"exit statuses with which its output counts"`
	Env       map[string]string    `yaml:"env" doc:"its environment, beside PATH and LC_ALL=C, which this may replace; nothing is inherited"`
	Dir       string               `yaml:"dir" doc:"folder that it starts in"`
}

// execValue is one point.
type execValue struct {
	Field   string       `yaml:"field" doc:"of the JSON object: a name, or a path as /tank/level or /list/0 (RFC 6901); default: the name of the point"`
	Type    reports.Type `yaml:"type" doc:"bool, int, float, string, enum or json; default: float"`
	Label   string       `yaml:"label" doc:"for people; default: the name"`
	Unit    string       `yaml:"unit" doc:"of a number"`
	Class   string       `yaml:"class" doc:"as Home Assistant has them: temperature, power"`
	Min     *float64     `yaml:"min" doc:"a lower number is refused"`
	Max     *float64     `yaml:"max" doc:"a higher number is refused"`
	Options []string     `yaml:"options" doc:"the words of an enum"`
}

// Words of output, and bounds.
const (
	execJSON       = "json"
	execWord       = "value"
	execStatusName = "exit_status"
	execLeastPoll  = time.Second
	execMostOutput = 1 << 20
)

// Validate checks the options without the program.
func (o *execOptions) Validate() error {
	switch {
	case len(o.Command) == 0:
		return config.At("command", "is missing")
	case !filepath.IsAbs(o.Command[0]) || filepath.Clean(o.Command[0]) != o.Command[0]:
		return config.At("command[0]", "%.60q is not an absolute path", o.Command[0])
	case o.Output != execJSON && o.Output != execWord:
		return config.At("output", "%.20q is not json or value", o.Output)
	case time.Duration(o.Poll) < execLeastPoll:
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, execLeastPoll)
	case time.Duration(o.Timeout) > sampleTimeout(time.Duration(o.Poll)):
		return config.At("timeout", "%s must be at most %s, four fifths of poll and no more than %s", o.Timeout,
			sampleTimeout(time.Duration(o.Poll)), mostTimeout)
	case o.MaxOutput < 1 || o.MaxOutput > execMostOutput:
		return config.At("max_output", "%d is not from 1 to %d", o.MaxOutput, execMostOutput)
	case len(o.Accept) == 0:
		return config.At("accept", "with no exit status no output would count")
	case !filepath.IsAbs(o.Dir):
		return config.At("dir", "%.60q is not an absolute path", o.Dir)
	case len(o.Values) == 0:
		return config.At("values", "there are none")
	case o.Output == execWord && len(o.Values) > 1:
		return config.At("values", "output: value is for one, and there are %d", len(o.Values))
	}
	for i, s := range o.Accept {
		if s < 0 || s > 255 {
			return config.At(fmt.Sprintf("accept[%d]", i), "%d is no exit status, from 0 to 255", s)
		}
	}
	return o.validateWords()
}

// execTimeout is the default.
const execTimeout = 5 * time.Second

// timeout returns how long the command may run.
func (o *execOptions) timeout() time.Duration {
	return timeoutOr(o.Timeout, execTimeout, o.Poll)
}

// Warnings says why the program can't be run.
func (o *execOptions) Warnings() map[string]error {
	if err := execAllowed(o.Command[0]); err != nil {
		return map[string]error{"command[0]": err}
	}
	return nil
}

// validateWords checks what is passed to the program, and the points.
func (o *execOptions) validateWords() error {
	for i, word := range o.Command {
		if strings.ContainsRune(word, 0) {
			return config.At(fmt.Sprintf("command[%d]", i), "has a zero byte")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Env)) {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.ContainsRune(o.Env[key], 0) {
			return config.At("env", "%.60q can't be a variable of an environment", key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		v, at := o.Values[name], "values."+name
		if err := v.point(name).Validate(); err != nil {
			return config.At(at, "%w", err)
		}
		switch {
		case name == execStatusName || strings.HasPrefix(name, execStatusName+"/"):
			return config.At(at, "%q is a point of the agent's own", name)
		case o.Output == execWord && v.Field != "":
			return config.At(at+".field", "is for output: json")
		case v.Unit != "" && v.Type != "" && v.Type != reports.Int && v.Type != reports.Float:
			return config.At(at+".unit", "only a number has a unit")
		}
		if _, err := execPointer(v.Field); err != nil {
			return config.At(at+".field", "%w", err)
		}
		for other := range o.Values {
			if strings.HasPrefix(other, name+"/") {
				return config.At(at, "%q lies below it", other)
			}
		}
	}
	return nil
}

// point describes the value.
func (v execValue) point(name string) reports.Point {
	p := reports.Point{Path: name, Label: v.Label, Type: v.Type, Access: reports.Get, Unit: v.Unit, Class: v.Class, Min: v.Min, Max: v.Max,
		Options: v.Options, Genre: reports.User}
	if p.Type == "" {
		p.Type = reports.Float
	}
	if p.Label == "" {
		p.Label = name
	}
	return p
}

type execAgent struct {
	*snapshot[execResult]
	o       execOptions
	run     func(context.Context, execOptions) (execRan, error)
	running sync.Mutex
	began   time.Time // of the last run
	last    execResult
	failed  error // of the last run
}

// execResult is what a run says: the points' values can be had from it, or it says why not.
type execResult struct {
	status int
	doc    any // json: the object; value: the text
	err    error
}

func newExec(o execOptions, log *slog.Logger, run func(context.Context, execOptions) (execRan, error)) (*execAgent, error) {
	if err := execAllowed(o.Command[0]); err != nil {
		return nil, err
	}
	a := &execAgent{o: o, run: run}
	a.snapshot = newSnapshot(newSensor("exec", false), a.look)
	a.least = max(execLeastPoll, leastPollFor(o.timeout()))
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		p := o.Values[name].point(name)
		p.Poll = o.Poll
		field := o.Values[name].Field
		if field == "" {
			field = name
			if strings.Contains(name, "/") {
				field = "/" + name
			}
		}
		if o.Output == execWord {
			field = ""
		}
		a.take(p, func(r execResult) (any, error) {
			if r.err != nil {
				return nil, r.err
			}
			return execPick(p, r.doc, field)
		})
	}
	a.take(reports.Point{Path: execStatusName, Label: "Exit status", Type: reports.Int, Min: reports.Ptr(0), Max: reports.Ptr(255), Genre: reports.System, Poll: o.Poll},
		func(r execResult) (any, error) { return int64(r.status), nil })
	if log != nil {
		log.Info("runs a command", "command", o.Command[0], "every", o.Poll)
	}
	return a, nil
}

// execAllowed says why the program can't be run, or should not be.
func execAllowed(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no program %s: install it, or correct command", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not a program: `chmod +x %s`, if it is one", path, path)
	case info.Mode()&0o002 != 0:
		return fmt.Errorf("everyone may change %s, so it is not run: `chmod o-w %s`", path, path)
	}
	return nil
}

// look runs the command. A run that has an exit status is a look, even if its output does not count.
func (a *execAgent) look(ctx context.Context, _ []string) (execResult, error) {
	if err := ctx.Err(); err != nil {
		return execResult{}, err
	}
	if err := execAllowed(a.o.Command[0]); err != nil { // it may have changed
		return execResult{}, err
	}
	if !a.running.TryLock() {
		return execResult{}, errors.New("the command still runs")
	}
	defer a.running.Unlock()
	// The interval of a point can be set to less than that of the agent, by anyone who may command it: what was said a moment ago holds.
	if !a.began.IsZero() && time.Since(a.began) < execLeastPoll*9/10 {
		return a.last, a.failed
	}
	a.began = time.Now()
	a.last, a.failed = a.once(ctx)
	return a.last, a.failed
}

// once runs the command.
func (a *execAgent) once(ctx context.Context) (execResult, error) {
	ran, err := a.run(ctx, a.o)
	if err != nil {
		return execResult{}, err
	}
	r := execResult{status: ran.status}
	switch {
	case !slices.Contains(a.o.Accept, ran.status):
		r.err = fmt.Errorf("%s ends with status %d%s", a.o.Command[0], ran.status, execSaid(ran.stderr))
	case a.o.Output == execWord:
		r.doc, r.err = execText(ran.stdout)
	default:
		var object map[string]any
		object, r.err = execObject(ran.stdout)
		r.doc = object
	}
	return r, nil
}
