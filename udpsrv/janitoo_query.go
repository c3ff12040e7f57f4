package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// janitooQuery is the options of query.
type janitooQuery struct {
	janitooAsked
	hadd, genre, uuid   string
	data                string
	hasData             func() bool
	readonly, writeonly string
	index               int
	kind                string // of jnt_query's --type, which it does not send either
}

// queryWait is how long query waits for its answer.
const queryWait = 3 * time.Second

func newQuery(a *app) *cobra.Command {
	q := janitooQuery{}
	cmd := &cobra.Command{
		Use:   "query --hadd CCCC/NNNN --uuid UUID",
		Short: "Read or set a value of a Janitoo node",
		Long: `Read a value of a Janitoo node, or with --data set it, in Janitoo's protocol. It ends with the answer; a poll that happens to come first is
not taken for it. Janitoo is silent where it does not know the address, the value or the class; without --cmdclass, the node is asked for that first.`,
		Example: "  udpsrv query --hadd 0121/0001 --genre basic --uuid load\n  udpsrv query --hadd 0121/0000 --genre config --uuid location --data 'My computer'\n" +
			"  udpsrv query --hadd 0225/0004 --genre basic --uuid blink --cmdclass 12803 --data warning --writeonly True",
		Args: noArgs,
		RunE: action(func(ctx context.Context, _ []string) error { return q.run(ctx, a) }),
	}
	q.flags(cmd, queryWait)
	f := cmd.Flags()
	f.StringVar(&q.hadd, "hadd", "", "address of the node, such as 0121/0001")
	f.StringVar(&q.genre, "genre", "user", "genre of the value: basic, user, config, system or command")
	f.StringVar(&q.uuid, "uuid", "", "the value")
	f.StringVar(&q.data, "data", "", "what to set it to")
	q.hasData = func() bool { return f.Changed("data") }
	f.StringVar(&q.class, "cmdclass", "", "command class of the value, by number or name; default: as the node says")
	f.IntVar(&q.index, "index", -1, "instance of the value; Janitoo's own servers know the first only")
	f.StringVar(&q.kind, "type", "", "type of the data; the node knows it, and it is not sent")
	f.StringVar(&q.readonly, "readonly", "", "true: read it; default, unless there is --data")
	f.StringVar(&q.writeonly, "writeonly", "", "true: set it; default with --data")
	for _, name := range []string{"hadd", "uuid"} {
		_ = cmd.MarkFlagRequired(name) // the only error is that of a flag that is not there
	}
	_ = cmd.RegisterFlagCompletionFunc("genre", cobra.FixedCompletions(genreWords(), cobra.ShellCompDirectiveNoFileComp)) // as above
	return cmd
}

func genreWords() (out []string) {
	for _, g := range wire.Genres() {
		out = append(out, g.String())
	}
	return out
}

// request returns what is to be asked, but for a class that is not known yet.
func (q *janitooQuery) request() (wire.Request, error) {
	var none wire.Request
	genre, ok := wire.ParseGenre(q.genre)
	switch {
	case !ok:
		return none, usagef("--genre: %q is none of %s", q.genre, strings.Join(genreWords(), ", "))
	case q.uuid == "" || len(q.uuid) > wire.MaxUUID || validFilter(q.uuid) != nil || strings.ContainsAny(q.uuid, "+#/"):
		return none, usagef("--uuid: %q is no name of a value", q.uuid)
	case q.index < -1 || q.index > 1e6:
		return none, usagef("--index: %d is no number of an instance", q.index)
	}
	if _, err := wire.ParseHadd(q.hadd); err != nil {
		return none, usagef("--hadd: %q is no address CCCC/NNNN", q.hadd)
	}
	r := wire.Request{UUID: q.uuid, Genre: genre, Hadd: wire.Hadd(q.hadd), ReplyHadd: q.my, ReadOnly: true}
	if q.readonly != "" {
		r.ReadOnly = wire.Truth(q.readonly)
	}
	if r.WriteOnly = q.hasData(); q.writeonly != "" {
		r.WriteOnly = wire.Truth(q.writeonly)
	}
	switch {
	case r.WriteOnly && !q.hasData():
		return none, usagef("--writeonly needs --data")
	case !r.WriteOnly && !r.ReadOnly:
		return none, usagef("--readonly and --writeonly are false: there is nothing to do")
	}
	if q.hasData() {
		r.Data = q.data
	}
	if q.index >= 0 {
		r.Index = &q.index
	}
	if q.number >= 0 {
		r.CmdClass = &q.number
	} else if genre == wire.Config || genre == wire.System {
		class := wire.CmdConfiguration // JANITOO.md §0, 10
		r.CmdClass = &class
	}
	return r, nil
}

func (q *janitooQuery) run(ctx context.Context, a *app) error {
	if err := q.check(a); err != nil {
		return err
	}
	r, err := q.request()
	if err != nil {
		return err
	}
	var values []wire.Value
	err = q.reach(ctx, a, func(ctx context.Context, l *link) error {
		wait, cancel := context.WithTimeoutCause(ctx, q.timeout, fmt.Errorf("no answer from %s about %s value %s within %s: Janitoo is silent where it does not know address, value or class",
			q.hadd, q.genre, q.uuid, q.timeout))
		defer cancel()
		if r.CmdClass == nil {
			class, err := q.learnClass(wait, l, r)
			if err != nil {
				return err
			}
			r.CmdClass = &class
		}
		values, err = q.ask(wait, a, l, r)
		return err
	})
	if err != nil {
		return err
	}
	return q.print(a, values)
}

// learnClass asks the node which class the value has.
func (q *janitooQuery) learnClass(ctx context.Context, l *link, r wire.Request) (int, error) {
	info := ""
	for _, one := range wire.Infos() {
		if g, _ := wire.InfoGenre(one); g == r.Genre {
			info = one
		}
	}
	found := newJanitooFound([]string{info})
	if err := q.listen(ctx, l, found.receive, wire.ReplyTopic(q.my)); err != nil {
		return 0, err
	}
	if err := q.send(ctx, l, wire.RequestTopic(r.Hadd), wire.Discovery(info, wire.Hadd(q.my)).Marshal()); err != nil {
		return 0, err
	}
	for {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-found.changed:
		}
		for _, v := range found.foundValues(info, -1) {
			if v.Hadd == r.Hadd && v.UUID == r.UUID {
				return v.CmdClass, nil
			}
		}
		if found.has(1) {
			return 0, fmt.Errorf("%s has no %s value %s", q.hadd, q.genre, q.uuid)
		}
	}
}

// ask sends the request and returns the answer: a message about the value that is addressed to us, unlike a poll.
func (q *janitooQuery) ask(ctx context.Context, a *app, l *link, r wire.Request) ([]wire.Value, error) {
	type answer struct {
		values  []wire.Value
		message bus.Message
	}
	answers := make(chan answer, 1)
	receive := func(m bus.Message) {
		values, err := wire.ParseValues(m.Payload)
		if err != nil || !slices.ContainsFunc(values, func(v wire.Value) bool {
			return v.Hadd == r.Hadd && v.UUID == r.UUID && wire.Text(v.ReplyHadd) == q.my
		}) {
			return
		}
		select {
		case answers <- answer{values, m}:
		default: // the same answer on the other topic
		}
	}
	if err := q.listen(ctx, l, receive, wire.ValueTopic(r.Genre, r.Hadd, r.UUID), wire.ReplyTopic(q.my)); err != nil {
		return nil, err
	}
	if err := q.send(ctx, l, wire.RequestTopic(r.Hadd), r.Marshal()); err != nil {
		return nil, err
	}
	select {
	case got := <-answers:
		if q.output == outputRaw {
			printRaw(a, got.message)
		}
		return got.values, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// print prints the answer. One that says that it failed is an error.
func (q *janitooQuery) print(a *app, values []wire.Value) error {
	for _, v := range values {
		var text string
		if raw, ok := v.Extra["error"]; ok && json.Unmarshal(raw, &text) == nil && text != "" {
			return fmt.Errorf("%s %s: %s", v.Hadd, v.UUID, text)
		}
	}
	switch {
	case q.format.asked():
		return q.format.print(a.out, values)
	case q.output == outputRaw:
		return nil
	}
	t := valueTable(a, 25, false)
	for _, v := range values {
		addValue(t, v, false)
	}
	return t.flush()
}
