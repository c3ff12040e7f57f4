package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// Times and bounds of logs.
const (
	renewEvery = 30 * time.Second // a service publishes its records for a minute after it was asked for them
	seenMost   = 1024             // records that are known to have been printed
)

// logging is the options of logs.
type logging struct {
	asked
	follow bool
	lines  int
}

func newLogs(a *app) *cobra.Command {
	o := logging{}
	cmd := &cobra.Command{
		Use:   "logs HOST/SERVICE",
		Short: "Show what a service has logged last, and follow it",
		Long: `Show what a service has logged last, and whether it is online and says an error. With -f go on: print records as they come, changes
of its status and its error, and the results of commands, until interrupted.

A service of agentd keeps its last records in memory, those from info on, also where its log topic is switched off; it needs the right
to read. A program in another language may keep none: what it publishes is followed all the same.`,
		Example:           "  udpsrv logs pizero2/gpio\n  udpsrv logs pizero2/gpio -f\n  udpsrv logs pizero2/gpio -n 5 --json",
		Args:              exactly(1, "HOST/SERVICE"),
		ValidArgsFunction: completeTarget(a, nil),
		RunE: action(func(ctx context.Context, args []string) error {
			t, err := parseService(args[0])
			if err != nil {
				return err
			}
			return o.run(ctx, a, t)
		}),
	}
	o.flags(cmd)
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on, and print what comes, until interrupted")
	cmd.Flags().IntVarP(&o.lines, "lines", "n", 50, "how many of the last records to print")
	return cmd
}

func (o *logging) run(ctx context.Context, a *app, t target) error {
	if o.lines < 0 {
		return usagef("--lines: %d is less than 0", o.lines)
	}
	if err := validWait("--timeout", o.timeout); err != nil {
		return err
	}
	err := a.reach(ctx, t, &o.asking, func(ctx context.Context, l *link) error {
		f := &logFollower{o: o, a: a, l: l, seen: map[string]bool{}, stands: map[string]string{}, news: make(chan bus.Message, backlog)}
		return f.run(ctx)
	})
	if o.follow && ctx.Err() != nil {
		return nil // being interrupted is how it ends
	}
	return err
}

// logFollower prints the log of one service. It belongs to one goroutine.
type logFollower struct {
	o      *logging
	a      *app
	l      *link
	news   chan bus.Message
	seen   map[string]bool   // records that were printed
	order  []string          // of seen, the oldest first
	keeps  bool              // the service keeps its last records
	stands map[string]string // the last status and error
	own    string            // id of the last command of this one
}

// tailed is the data of the result of get/log.
type tailed struct {
	Records []json.RawMessage `json:"records"`
	Dropped uint64            `json:"dropped"`
}

func (f *logFollower) run(ctx context.Context) error {
	t := f.l.topics()
	topics := []string{t.To("status"), t.To("error"), t.To("result")}
	if f.o.follow {
		topics = append(topics, t.To("log"))
	}
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := f.l.Subscribe(wait, 1, f.receive, topics...); err != nil {
		return fmt.Errorf("subscribe at %s: %w", f.l.name, err)
	}
	if err := f.ask(ctx, f.o.lines); err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		f.a.warnf("it keeps no log that could be asked for: %v", err)
	}
	if !f.o.follow {
		return f.rest(ctx)
	}
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-f.news:
			if err := f.message(m); err != nil {
				return err
			}
		case <-renew.C:
			if !f.keeps {
				continue
			}
			if err := f.ask(ctx, seenMost); err != nil && ctx.Err() == nil {
				f.a.log().Debug("ask for the log", "err", err)
			}
		}
	}
}

// receive hands on what comes. It never waits: what the printer has no time for is in the tail that is asked for next.
func (f *logFollower) receive(m bus.Message) {
	select {
	case f.news <- m:
	default:
	}
}

// rest prints the status and the error that the broker keeps. They come before the answer that has come by another way already.
func (f *logFollower) rest(ctx context.Context) error {
	enough := time.NewTimer(verifyWait)
	defer enough.Stop()
	for {
		select {
		case m := <-f.news:
			if f.isOwn(m) {
				return nil
			}
			if strings.HasSuffix(m.Topic, "/result") {
				continue // of somebody else's command
			}
			if err := f.message(m); err != nil {
				return err
			}
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

// isOwn reports whether a message is the answer to this command's own question.
func (f *logFollower) isOwn(m bus.Message) bool {
	r, ok := answerOf(m.Payload)
	return strings.HasSuffix(m.Topic, "/result") && ok && string(r.ID) == f.own
}

// ask prints the last records that were not printed yet, n at most, and, to follow, has the service publish those that come.
func (f *logFollower) ask(ctx context.Context, n int) error {
	r, err := f.command(ctx)
	if err != nil {
		return err
	}
	f.keeps = true
	var data tailed
	if json.Unmarshal(r, &data) != nil {
		return fmt.Errorf("the log of %s can't be read", f.l.target)
	}
	for i, record := range data.Records {
		if f.known(string(record)) || i < len(data.Records)-n {
			continue
		}
		if err := f.print("log", record); err != nil {
			return err
		}
	}
	return nil
}

// command asks the service for its log, and returns the data of the answer. It comes on the service's own result topic, and the
// subscription to that ends with it: a log may be followed for days.
func (f *logFollower) command(ctx context.Context) (json.RawMessage, error) {
	id, _ := newCommand()
	f.own = string(id)
	t, path := f.l.topics(), "get/log"
	if f.o.follow {
		path += "/live"
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.timeout)
	defer cancel()
	m, err := f.l.Request(ctx, bus.Message{Topic: t.To(path), Payload: fmt.Appendf(nil, `{"id":%s}`, id), QoS: 1}, t.To("result"), func(m bus.Message) bool {
		r, ok := answerOf(m.Payload)
		return ok && r.ID == id
	})
	if err != nil && ctx.Err() != nil {
		return nil, f.l.silent(f.o.timeout)
	}
	if err != nil {
		return nil, err
	}
	r, _ := answerOf(m.Payload) // it was one a moment ago
	return r.Data, f.l.refusal(r)
}

// answerOf reads the result of a command.
func answerOf(payload []byte) (r answer, ok bool) {
	ok = reports.Depth(payload) <= 2*reports.MaxDepth && json.Unmarshal(payload, &r) == nil
	return r, ok
}

// known reports whether a record was printed, and notes it.
func (f *logFollower) known(record string) bool {
	if f.seen[record] {
		return true
	}
	f.seen[record] = true
	if f.order = append(f.order, record); len(f.order) > seenMost {
		delete(f.seen, f.order[0])
		f.order = f.order[1:]
	}
	return false
}

// message prints what came on a topic of the service.
func (f *logFollower) message(m bus.Message) error {
	kind := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]
	switch {
	case kind == "log" && f.known(string(m.Payload)):
		return nil
	case (kind == "error" || kind == "status") && string(m.Payload) == f.stands[kind]:
		return nil // the broker sends what it keeps again where another subscription wants it
	case f.isOwn(m):
		return nil
	}
	if kind == "error" || kind == "status" {
		f.stands[kind] = string(m.Payload)
	}
	return f.print(kind, m.Payload)
}

// logged is what logs prints for a program.
type logged struct {
	Kind   string `json:"kind"`   // log, status, error or result
	Record any    `json:"record"` // of a log and a result the JSON that it is; else text
}

// print prints one line.
func (f *logFollower) print(kind string, payload []byte) error {
	plain := reports.Depth(payload) <= 2*reports.MaxDepth
	if f.o.format.asked() {
		out := logged{kind, string(payload)}
		if kind != "status" && kind != "error" && plain && json.Valid(payload) {
			out.Record = json.RawMessage(payload)
		}
		return f.o.next(f.a.out, out)
	}
	var fields map[string]any
	if !plain || json.Unmarshal(payload, &fields) != nil {
		fields = nil
	}
	_, err := fmt.Fprintln(f.a.out, logLine(kind, string(payload), fields))
	return err
}

// logLine returns a line for people: when, the level or what it is, the message, and the attributes by name. All of it is safe on a
// terminal.
func logLine(kind, payload string, fields map[string]any) string {
	at, level, text := time.Now(), kind, payload
	switch {
	case kind == "error" && payload == "":
		text = "cured"
	case fields == nil || kind != "log" && kind != "result":
	default:
		text = ""
		if msg, ok := take(fields, "msg"); ok {
			text = msg
		}
		if word, ok := take(fields, "level"); ok {
			level = word
		}
		if word, ok := take(fields, "time"); ok {
			if t, err := time.Parse(time.RFC3339Nano, word); err == nil {
				at = t
			}
		}
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			if fields[k] == nil {
				continue
			}
			text += " " + k + "=" + attribute(fields[k])
		}
	}
	return fmt.Sprintf("%s %-6s %s", at.Local().Format("2006-01-02 15:04:05.000"), clean(level), clean(strings.TrimSpace(text)))
}

// take takes a text out of the fields of a record.
func take(fields map[string]any, key string) (string, bool) {
	s, ok := fields[key].(string)
	if ok {
		delete(fields, key)
	}
	return s, ok
}

// attribute returns the value of an attribute: a word as it is, all else as JSON.
func attribute(v any) string {
	if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, " \"=") {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "?" // what came as JSON always can be
	}
	return string(raw)
}
