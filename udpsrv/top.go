package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// topping is the options of top.
type topping struct {
	sweeping
	once   bool
	view   string
	sort   string
	revert bool
	filter string

	panics chan string // what went wrong in another goroutine, for the one who can restore the terminal
}

// Times of top.
const (
	tickEvery  = time.Second            // ages and rates are made anew
	drawAtMost = 250 * time.Millisecond // between two screens
	readyWait  = 10 * time.Second       // for a snapshot to have all values
)

func newTop(a *app) *cobra.Command {
	o := topping{panics: make(chan string, 1)}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show hosts, services and the values of their points as they change",
		Long: `Show hosts, services with their status, and points with their last value, its age and the messages that come in a second, as they
change. Hosts that come and go are followed as sweep --watch does; values are read at the brokers of the hosts.

Keys: q ends it; the arrows, PgUp, PgDn, Home and End scroll; s chooses the order: by name, value, age or messages; r reverses it; v
chooses between points, services and hosts; / asks for a filter, and Esc takes it away. A filter is words with commas in between, which
must all be true: name=PATTERN, service=PATTERN, class=PATTERN, point=PATTERN, status=PATTERN, or a word in any name.

An age ending in ! is that of a stale value; one that is not known is "-". Where stdin or stdout is no terminal, with --once, --json or
--yaml, what is there is printed once.`,
		Example: "  udpsrv top\n  udpsrv top --want 'pizero*' --filter class=temperature --sort value\n  udpsrv top --once --view services\n  udpsrv top --json | jq '.hosts[].services[].points[]'",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return o.run(ctx, a) }),
	}
	o.asking.flags(cmd)
	o.format.flags(cmd, "what is there")
	f := cmd.Flags()
	f.StringVar(&o.want, "want", "", "only hosts of this name pattern, or service=PATTERN, class=PATTERN, or several with commas")
	f.BoolVar(&o.once, "once", false, "print what is there once")
	f.StringVar(&o.view, "view", viewPoints, "what to show first: "+strings.Join(topViews, ", "))
	f.StringVar(&o.sort, "sort", byName, "order to begin with: "+strings.Join(topOrders, ", "))
	f.BoolVar(&o.revert, "reverse", false, "reverse the order")
	f.StringVar(&o.filter, "filter", "", "filter to begin with")
	f.DurationVar(&o.every, "every", askEvery, "time in which each host is asked whether it is there")
	// The only error is that of a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("view", cobra.FixedCompletions(topViews, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(topOrders, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("filter", completeList(a.selectors))
	return cmd
}

func (o *topping) run(ctx context.Context, a *app) error {
	filter, err := parseTopFilter(o.filter)
	switch {
	case err != nil:
		return usagef("--filter: %v", err)
	case !slices.Contains(topViews, o.view):
		return usagef("--view: %q is none of %s", o.view, strings.Join(topViews, ", "))
	case !slices.Contains(topOrders, o.sort):
		return usagef("--sort: %q is none of %s", o.sort, strings.Join(topOrders, ", "))
	case o.every <= 0:
		return usagef("--every: %s is not more than 0", o.every)
	case len(o.subnets) > 0 && !o.once && !o.asked():
		return usagef("top follows the networks that this machine is in; with --subnet it needs --once")
	}
	if err := o.check(); err != nil {
		return err
	}
	v := &topView{view: o.view, order: o.sort, reverse: o.revert, filter: filter, text: o.filter}
	in, isFile := a.in.(*os.File)
	if o.once || o.asked() || !isFile || terminalOf(in, os.Getenv) == nil || a.out.term == nil || a.out.term.dumb {
		return o.snapshot(ctx, a, v)
	}
	return o.live(ctx, a, in, v)
}

// snapshot prints what is there once.
func (o *topping) snapshot(ctx context.Context, a *app, v *topView) error {
	known, scope := a.openCache(), o.scope()
	rd, err := o.ask(ctx, a, nil, known.expect(scope), nil)
	if err != nil {
		return err
	}
	known.learn(rd, scope)
	a.save(known)
	p := a.begin("reading what %s say", plural(len(rd.hosts), "host"))
	defer p.end()
	m := newTopModel()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := newHosts(ctx, o, a, m)
	defer hs.stop()
	for _, h := range rd.sorted() {
		hs.put(h)
	}
	enough := time.NewTimer(readyWait)
	defer enough.Stop()
	for _, s := range hs.sessions {
		select {
		case <-s.ready:
		case <-enough.C:
			enough.Reset(0) // nobody is waited for any more
		case text := <-o.panics:
			panic(text)
		case <-ctx.Done():
			return errInterrupted
		}
	}
	p.end()
	if err := o.printOnce(a, m, v); err != nil {
		return err
	}
	if note := v.note(m); note != "" {
		a.warnf("%s", note)
	}
	if err := errors.Join(rd.distrusted...); err != nil {
		return err
	}
	if len(rd.hosts) == 0 {
		return fmt.Errorf("%w (%s)", errNothing, rd.took())
	}
	return nil
}

func (o *topping) printOnce(a *app, m *topModel, v *topView) error {
	if o.asked() {
		return o.format.print(a.out, topDoc{m.document(v.filter)})
	}
	return v.table(a.out, v.chosen(m), time.Now(), false)
}

// live shows what is there until the person at the terminal ends it.
func (o *topping) live(ctx context.Context, a *app, in *os.File, v *topView) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT) // beside SIGINT and SIGTERM: the terminal is restored first
	defer stop()
	m := newTopModel()
	quiet := *a
	quiet.err, quiet.verbose = &output{w: m}, false // warnings go to the screen
	if _, err := quiet.who(); err != nil {          // before others ask at once
		return err
	}
	err := withScreen(in, a.out, func(s *fullScreen) error {
		ctx, cancel := context.WithCancel(ctx)
		hs := newHosts(ctx, o, &quiet, m)
		defer hs.stop()
		watched := make(chan error, 1)
		defer func() { <-watched }()
		defer cancel()
		go func() {
			err := errors.New("the watch has ended")
			o.guard(func() { err = o.watchEach(ctx, &quiet, nil, hs.event) })
			watched <- err
			close(watched)
		}()
		return o.show(ctx, s, m, v, watched)
	})
	if err == nil {
		err = a.out.failed
	}
	return err
}

// show draws the screen whenever something changes, and takes keys.
func (o *topping) show(ctx context.Context, s *fullScreen, m *topModel, v *topView, watched <-chan error) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	resized, stop := notifyResize()
	defer stop()
	draw := time.NewTimer(0)
	defer draw.Stop()
	due := true
	for s.out.failed == nil {
		select {
		case <-ctx.Done():
			return nil
		case text := <-o.panics:
			panic(text)
		case err := <-watched:
			select {
			case text := <-o.panics:
				panic(text)
			default:
			}
			if ctx.Err() != nil || errors.Is(err, errNothing) {
				return nil
			}
			return err
		case key, ok := <-s.keys:
			if !ok || v.press(key) {
				return nil
			}
			due = true
			draw.Reset(0)
		case now := <-tick.C:
			m.tick(now)
			due = true
		case <-m.changed:
			due = true
		case <-resized:
			due = true
		case now := <-draw.C:
			if due {
				columns, rows := s.out.term.size()
				s.show(v.lines(m, *s.out.term, columns, rows, now), rows)
				due = false
			}
			draw.Reset(drawAtMost)
		}
	}
	return nil
}
