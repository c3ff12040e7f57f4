package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// How the commands of Janitoo print.
const (
	outputTxt  = "txt"
	outputRaw  = "raw"
	outputJSON = "json"
)

// janitooAsked is the options of the commands that ask Janitoo's servers, and hosts that speak as they do.
type janitooAsked struct {
	format
	host    string
	port    int
	said    func() bool // a broker was named by --host or --port
	timeout time.Duration
	my      string
	output  string
	class   string
	number  int // of class; -1: any
}

// flags adds what these commands have in common, with the names that jnt_query has for them (JANITOO.md §1.8).
func (j *janitooAsked) flags(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.StringVar(&j.host, "host", "127.0.0.1", "name or address of the MQTT broker; --broker names one with user, password or TLS")
	f.IntVar(&j.port, "port", portMQTT, "port of the broker")
	j.said = func() bool { return f.Changed("host") || f.Changed("port") }
	j.timeout = timeout
	f.Var((*delay)(&j.timeout), "timeout", "how long to wait at most, in seconds, or as 500ms")
	f.StringVar(&j.my, "myhadd", string(wire.DefaultReplyHadd), "address that answers are to be sent to")
	f.StringVar(&j.output, "output", outputTxt, "how to print: txt, raw (the messages as they came) or json")
	j.format.flags(cmd, "the answers")
	// The only error is that of a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTxt, outputRaw, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

// delay is a flag of seconds as Janitoo has them, or of a duration.
type delay time.Duration

// String returns the duration.
func (d *delay) String() string { return time.Duration(*d).String() }

// Type names what is expected.
func (d *delay) Type() string { return "seconds" }

// Set reads 12, 0.5 or 12s.
func (d *delay) Set(s string) error {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if !(n > 0 && n <= maxWait.Seconds()) {
			return fmt.Errorf("%s is not more than 0 and at most %s", s, maxWait)
		}
		*d = delay(n * float64(time.Second))
		return nil
	}
	n, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no number of seconds", s)
	}
	*d = delay(n)
	return nil
}

// check refuses values that the types of the flags allow and that can't be.
func (j *janitooAsked) check(a *app) error {
	if err := validWait("--timeout", j.timeout); err != nil {
		return err
	}
	if _, err := wire.ParseHadd(j.my); err != nil {
		return usagef("--myhadd: %q is no address CCCC/NNNN", j.my)
	}
	switch {
	case j.output != outputTxt && j.output != outputRaw && j.output != outputJSON:
		return usagef("--output: %q is none of txt, raw, json", j.output)
	case j.output == outputRaw && j.format.asked():
		return usagef("--output raw goes with neither --json nor --yaml")
	case a.named != nil && j.said():
		return usagef("--broker names the broker: --host and --port do as well")
	case !validHost(j.host) || strings.Contains(j.host, "%"):
		return usagef("--host: %q is neither a name nor an address", j.host)
	case j.port < 1 || j.port > 65535:
		return usagef("--port: %d is not from 1 to 65535", j.port)
	}
	j.json = j.json || j.output == outputJSON && !j.yaml
	return j.parseClass()
}

// parseClass reads --cmdclass: a number, or the name that Janitoo has for it, with or without COMMAND_.
func (j *janitooAsked) parseClass() error {
	j.number = -1
	if j.class == "" {
		return nil
	}
	if n, err := strconv.Atoi(j.class); err == nil && n >= 0 && n <= 0xffff {
		j.number = n
		return nil
	}
	name := strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(j.class, "-", "_")), "COMMAND_")
	for _, c := range wire.CmdClasses() {
		if c.Name == "COMMAND_"+name {
			j.number = c.Number
			return nil
		}
	}
	return usagef("--cmdclass: %q is no number from 0 to 65535, and no class that Janitoo has", j.class)
}

// reach connects to the broker that the flags name and calls f.
func (j *janitooAsked) reach(ctx context.Context, a *app, f func(context.Context, *link) error) error {
	b := brokerURL{Host: j.host, Port: uint16(j.port)}
	if a.named != nil {
		b = *a.named
	}
	b, err := a.pinNamed(b)
	if err != nil {
		return err
	}
	p := a.begin("waiting for answers at %s", b.String())
	defer p.end()
	err = withBroker(ctx, a, b, connectWait, f)
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// listen subscribes as Janitoo's clients do: QoS 0.
func (j *janitooAsked) listen(ctx context.Context, l *link, receive func(bus.Message), topics ...string) error {
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := l.Subscribe(wait, 0, receive, topics...); err != nil {
		return fmt.Errorf("subscribe at %s: %w", l.name, err)
	}
	return nil
}

// send publishes as Janitoo's clients do: QoS 0, not retained.
func (j *janitooAsked) send(ctx context.Context, l *link, topic string, payload []byte) error {
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := l.Publish(wait, bus.Message{Topic: topic, Payload: payload}); err != nil {
		return fmt.Errorf("publish at %s: %w", l.name, err)
	}
	return nil
}

// printRaw prints a message as it came.
func printRaw(a *app, m bus.Message) {
	fmt.Fprintf(a.out, "%s %s\n", clean(m.Topic), clean(string(m.Payload))) // output remembers the error
}

// janitooColumn is a column of a table as the tutorials have it, which a client of 2016 has printed (JANITOO.md §1.8): a text that is too
// long for it is not cut, and does not make the column wider. On a terminal it has up to most cells.
func janitooColumn(head string, width, most int) column {
	return column{head: head, least: width, most: most, gap: 1}
}

// nodeTable returns the table of nodes.
func nodeTable(a *app, uuid, location int) *table {
	product := janitooColumn("product_name", 25, 30)
	product.spare = true
	t := newLiveTable(a.out, column{head: "hadd", least: 10, whole: true}, janitooColumn("uuid", uuid, 40), janitooColumn("name", 25, 40), janitooColumn("location", location, 40),
		product, janitooColumn("product_type", 0, 40))
	t.blank = true
	return t
}

// valueTable returns the table of values; those of query have no column of the node.
func valueTable(a *app, uuid int, withNode bool) *table {
	t := newLiveTable(a.out, column{head: "hadd", least: 10, whole: true})
	if withNode {
		node := janitooColumn("node_uuid", 25, 40)
		node.spare = true
		t.cols = append(t.cols, node)
	}
	help := janitooColumn("help", 0, 60)
	help.wraps = true
	t.cols = append(t.cols, janitooColumn("uuid", uuid, 40), janitooColumn("idx", 4, 0), janitooColumn("data", 25, 40), janitooColumn("units", 10, 0), janitooColumn("type", 5, 0),
		janitooColumn("genre", 5, 0), janitooColumn("cmdclass", 8, 0), help)
	t.blank = true
	return t
}

// addValue adds the row of a value.
func addValue(t *table, v wire.Value, withNode bool) {
	row := []string{string(v.Hadd)}
	if withNode {
		row = append(row, cmp.Or(v.NodeUUID, pythonNone))
	}
	kind := strconv.Itoa(int(v.Type))
	if v.Brief {
		kind = pythonNone
	}
	t.add(append(row, v.UUID, strconv.Itoa(v.Index), pythonText(v.Data), orNone(v.Units), kind, strconv.Itoa(int(v.Genre)), strconv.Itoa(v.CmdClass), orNone(v.Help))...)
}

// pythonNone is how Janitoo's tables show what is null.
const pythonNone = "None"

func orNone(s *string) string {
	if s == nil {
		return pythonNone
	}
	return *s
}

// pythonText returns data as Janitoo's tables show it: bools as 1 and 0.
func pythonText(v any) string {
	switch v := v.(type) {
	case nil:
		return pythonNone
	case bool:
		if v {
			return "1"
		}
		return "0"
	case string:
		return v
	case json.Number:
		return v.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return pythonNone // it came out of JSON
	}
	return string(b)
}
