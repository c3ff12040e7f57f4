package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"rollcall/reports"
)

// asked is the options of the commands that speak to one service.
type asked struct {
	asking
	format
	timeout time.Duration
	file    string
}

func (o *asked) flags(cmd *cobra.Command) {
	o.asking.flags(cmd)
	o.format.flags(cmd, "the answer")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Second, "how long to wait for the answer")
}

// command sends one command to the service and returns its answer.
func (o *asked) command(ctx context.Context, a *app, t target, verb string, fields func(*link) map[string]any) (data json.RawMessage, err error) {
	if err := validWait("--timeout", o.timeout); err != nil {
		return nil, err
	}
	if err := fits(t, verb, fields); err != nil {
		return nil, err
	}
	defer a.begin("waiting for %s", t).end()
	err = a.reach(ctx, t, &o.asking, func(ctx context.Context, l *link) error {
		r, err := l.command(ctx, verb, fields(l), o.timeout)
		if data = r.Data; err == nil && r.Error != "" {
			a.warnf("%s: %s", l.target, r.Error)
		}
		return err
	})
	return data, err
}

// fits returns an error if the command is larger than a service takes: before anybody is asked where the service is.
func fits(t target, verb string, fields func(*link) map[string]any) error {
	l := &link{target: t}
	id, reply := newCommand()
	_, err := l.compose(verb, fields(l), id, reply)
	return err
}

// noFields is a command without a value.
func noFields(*link) map[string]any { return nil }

// only is a command with a value.
func only(value any) func(*link) map[string]any {
	return func(*link) map[string]any { return map[string]any{"value": value} }
}

// Paths of get that are no points.
const (
	pathSetup       = "setup"
	pathDescription = "description"
)

func newGet(a *app) *cobra.Command {
	var o asked
	cmd := &cobra.Command{
		Use:   "get HOST/SERVICE[/PATH]",
		Short: "Read a point, a branch, or all points of a service",
		Long: `Read a point, and print its bare value; or a branch or all points of a service, and print a table of them.

HOST is a hostname, an address, or at least four digits of an id. The paths setup and description are the service's set-up and
what it says of itself.`,
		Example:           "  udpsrv get pizero2/hostsensor/load/1m\n  udpsrv get pizero2/gpio\n  udpsrv get pizero2/gpio/description",
		Args:              exactly(1, "HOST/SERVICE[/PATH]"),
		ValidArgsFunction: completeTarget(a, func(cachedPoint) bool { return true }, pathSetup, pathDescription),
		RunE: action(func(ctx context.Context, args []string) error {
			t, err := parseTarget(args[0], pathSetup, pathDescription)
			if err != nil {
				return err
			}
			if t.path == pathDescription {
				return o.describe(ctx, a, t)
			}
			data, err := o.command(ctx, a, t, "get", noFields)
			switch {
			case err != nil:
				return err
			case o.asked():
				return o.format.print(a.out, data)
			case t.path == pathSetup:
				return printText(a.out, data)
			}
			return printReadings(a.out, t.path, data, time.Now())
		}),
	}
	o.flags(cmd)
	return cmd
}

// describe prints the retained description of a service.
func (o *asked) describe(ctx context.Context, a *app, t target) error {
	defer a.begin("waiting for %s", t).end()
	return a.reach(ctx, t, &o.asking, func(_ context.Context, l *link) error {
		raw := l.payload(l.topics().To("description"))
		if len(raw) == 0 {
			return fmt.Errorf("%s has no description on %s", l.target, l.name)
		}
		var b bytes.Buffer
		if reports.Depth(raw) > 2*reports.MaxDepth || !json.Valid(raw) {
			return fmt.Errorf("description of %s is not JSON", l.target)
		}
		if o.asked() {
			return o.format.print(a.out, json.RawMessage(raw))
		}
		if err := json.Indent(&b, raw, "", "  "); err != nil {
			return err
		}
		b.WriteByte('\n')
		_, err := a.out.Write(reports.CleanJSON(b.Bytes()))
		return err
	})
}

func newSet(a *app) *cobra.Command {
	var o asked
	cmd := &cobra.Command{
		Use:   "set HOST/SERVICE/PATH VALUE",
		Short: "Set a point, and print what is read back",
		Long: `Set a point, and print what is read back.

VALUE is taken as text, which the service reads according to the type of the point: ON, OFF and TOGGLE, numbers, words. A JSON
object or array is sent as such; an object with "value" may have what the point knows beside it, as {"value":"ON","for":"5s"}.`,
		Example:           "  udpsrv set pizero2/gpio/output/pump ON\n  udpsrv set pizero2/gpio/output/pump '{\"value\":\"ON\",\"for\":\"5s\"}'",
		Args:              exactly(2, "HOST/SERVICE/PATH and VALUE"),
		ValidArgsFunction: completeSet(a),
		RunE: action(func(ctx context.Context, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if t.path == "" {
				return usagef("%q names no point; HOST/SERVICE/PATH is needed", args[0])
			}
			if !utf8.ValidString(args[1]) {
				return usagef("VALUE is not UTF-8")
			}
			data, err := o.command(ctx, a, t, "set", func(l *link) map[string]any { return setFields(l, args[1]) })
			if err != nil {
				return err
			}
			return o.show(a, t.path, data)
		}),
	}
	o.flags(cmd)
	return cmd
}

// setFields makes the payload of a set of the text that a person typed.
func setFields(l *link, text string) map[string]any {
	raw := bytes.TrimSpace([]byte(text))
	if len(raw) == 0 || (raw[0] != '{' && raw[0] != '[') || reports.Depth(raw) > reports.MaxDepth || !json.Valid(raw) {
		return map[string]any{"value": text}
	}
	var fields map[string]json.RawMessage
	d, _ := l.description()
	if p, ok := d.Point(l.path); ok && p.Type == reports.JSON || json.Unmarshal(raw, &fields) != nil || fields["value"] == nil {
		return map[string]any{"value": json.RawMessage(raw)}
	}
	out := map[string]any{}
	for k, v := range fields {
		out[k] = v
	}
	return out
}

// show prints what a command returned, if it returned anything.
func (o *asked) show(a *app, path string, data json.RawMessage) error {
	switch {
	case len(data) == 0 || string(data) == "null":
		return nil
	case o.asked():
		return o.format.print(a.out, data)
	}
	return printReadings(a.out, path, data, time.Now())
}

func newControl(a *app) *cobra.Command {
	var o asked
	cmd := &cobra.Command{
		Use:               "control HOST/SERVICE TEXT",
		Short:             "Send a service a control block; - takes it from stdin",
		Example:           "  udpsrv control pizero2/gpio '{\"verb\":\"toggle\",\"path\":\"output/pump\"}'\n  udpsrv control pizero2/gpio - < block.txt",
		Args:              exactly(2, "HOST/SERVICE and TEXT"),
		ValidArgsFunction: completeTarget(a, nil),
		RunE: action(func(ctx context.Context, args []string) error {
			t, err := parseService(args[0])
			if err != nil {
				return err
			}
			text := args[1]
			if text == "-" {
				if text, err = readDocument(ctx, a.stdin, "stdin"); err != nil {
					return err
				}
			}
			data, err := o.command(ctx, a, t, "control", only(text))
			if err != nil {
				return err
			}
			return o.show(a, "", data)
		}),
	}
	o.flags(cmd)
	return cmd
}

func newSetup(a *app) *cobra.Command {
	var o asked
	cmd := &cobra.Command{
		Use:   "setup HOST/SERVICE",
		Short: "Set a service up from a file, or print its present set-up",
		Long: `Set a service up from a YAML or JSON file: all of it is applied, or nothing. Without -f the present set-up is printed, as
a file that setup -f takes.`,
		Example:           "  udpsrv setup pizero2/gpio > gpio.yaml\n  udpsrv setup pizero2/gpio -f gpio.yaml",
		Args:              exactly(1, "HOST/SERVICE"),
		ValidArgsFunction: completeTarget(a, nil),
	}
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		t, err := parseService(args[0])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("file") {
			return o.setUp(ctx, a, t)
		}
		t.path = pathSetup
		data, err := o.command(ctx, a, t, "get", noFields)
		switch {
		case err != nil:
			return err
		case o.asked():
			return o.format.print(a.out, data)
		}
		return printText(a.out, data)
	})
	o.flags(cmd)
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file with the new set-up; - is stdin")
	return cmd
}

// setUp sends the document of -f.
func (o *asked) setUp(ctx context.Context, a *app, t target) error {
	open := a.stdin
	if o.file != "-" {
		open = func() (io.ReadCloser, error) { return os.Open(o.file) }
	}
	doc, err := readDocument(ctx, open, o.file)
	if err != nil {
		return err
	}
	data, err := o.command(ctx, a, t, "setup", only(doc))
	if err != nil {
		return err
	}
	if o.asked() {
		return o.show(a, "", data)
	}
	return nil
}

// parseService reads HOST/SERVICE.
func parseService(s string) (target, error) {
	t, err := parseTarget(s)
	if err == nil && t.path != "" {
		err = usagef("%q is more than HOST/SERVICE", s)
	}
	return t, err
}
