package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/discover"
)

// How often a watch asks unless the user says: each host by UDP, and everybody by MQTT.
const (
	askEvery   = 30 * time.Second
	sweepEvery = 5 * time.Second
)

// sweeping is the options of sweep.
type sweeping struct {
	asking
	format
	watch     bool
	every     time.Duration
	everySaid func() bool // the user has said so

	hellos func(context.Context) (*net.UDPConn, error) // opens what hellos are heard on; nil: discover.ListenHello
}

func newSweep(a *app) *cobra.Command {
	var s sweeping
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: `Ask every host "who are you?" and list the services that answer`,
		Long: `Ask every host of the network "who are you?" and list the services that answer.

Rows come as answers come. With --via mqtt the question is put in the original form, and the answers are collected at the
broker that --broker names, or at one that is opened for the time of the sweep.`,
		Example: "  udpsrv sweep\n  udpsrv sweep --json | jq '.hosts[].hostname'\n  udpsrv sweep --watch\n  udpsrv sweep --want 'pizero*,service=gpio'\n  udpsrv sweep --to 10.1.2.3,10.1.2.4\n  udpsrv sweep --subnet 10.9.0.0/16",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return s.run(ctx, a) }),
	}
	s.asking.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.via, "via", viaUDP, "how hosts answer: udp, mqtt (the original form) or both")
	f.StringVar(&s.want, "want", "", "only hosts of this name pattern, or service=PATTERN, class=PATTERN, or several with commas")
	f.StringVar(&s.topic, "topic", "/stat/data", "topic that answers by mqtt are collected on")
	s.format.flags(cmd, "what was found, or with --watch each change,")
	f.BoolVar(&s.watch, "watch", false, "go on, with one request a second, and print what changes, until interrupted")
	f.DurationVar(&s.every, "every", askEvery, "time in which --watch asks each host; by mqtt how often it sweeps, then 5s unless it is said")
	s.everySaid = func() bool { return f.Changed("every") }
	// The only error is that of a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("via", cobra.FixedCompletions([]string{viaUDP, viaMQTT, viaBoth}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// errNothing says that a sweep heard nobody.
var errNothing = errors.New("no host answered")

func (s *sweeping) run(ctx context.Context, a *app) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	if s.every <= 0 {
		return usagef("--every: %s is not more than 0", s.every)
	}
	if s.watch && len(s.subnets) > 0 {
		return usagef("--watch follows the networks that this machine is in, not those of --subnet")
	}
	if s.via != viaUDP && s.everySaid != nil && !s.everySaid() {
		s.every = sweepEvery
	}
	var c *collector
	if s.via != viaUDP {
		p := a.begin("connecting to the broker that collects")
		c, err = openCollector(ctx, a, s.topic)
		if p.end(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
	}
	if s.watch {
		return s.watchAll(ctx, a, c)
	}
	return s.once(ctx, a, c)
}

func (s *sweeping) once(ctx context.Context, a *app, c *collector) error {
	known := a.openCache()
	scope := s.scope()
	t := newFound(a.out, false)
	show := func(n news) { t.rows("", n) }
	if s.asked() {
		show = nil
	}
	rd, err := s.ask(ctx, a, c, known.expect(scope), show)
	if err != nil {
		return err
	}
	for _, id := range rd.stats.Missing {
		rd.missing = append(rd.missing, known.nameOf(id))
	}
	if s.asked() {
		if err := s.print(a.out, rd.document()); err != nil {
			return err
		}
	}
	a.summary(rd)
	known.learn(rd, scope)
	a.save(known)
	tellHeard(ctx, a, rd.hosts)
	if err := errors.Join(rd.distrusted...); err != nil {
		return err
	}
	if len(rd.hosts) == 0 {
		return fmt.Errorf("%w (%s)", errNothing, rd.took())
	}
	return nil
}

// expected is the host of an id, for discover.SweepConfig.Expect; none if it is no id. probe is where it answers, or "".
func expected(id, probe string) []discover.Known {
	known, ok := parseID(id)
	if !ok {
		return nil
	}
	at, _ := netip.ParseAddrPort(probe) // if it is none, the host can't be asked by unicast
	return []discover.Known{{ID: known, At: at}}
}
