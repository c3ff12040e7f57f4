package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// asking says whom a sweep asks, and how.
type asking struct {
	to         []string
	interfaces []string
	subnets    []string
	wait       time.Duration
	waitSaid   func() bool // the user has said how long to wait
	want       string
	port       int
	via        string
	topic      string
	silent     bool // it goes on for ever: how far it is does not matter
}

// How long is listened unless the user says: a sweep by UDP ends by itself long before, one that collects answers at a broker
// can't know when it is complete.
const (
	longestWait = 5 * time.Second
	collectWait = time.Second
)

// maxWait bounds --wait and --timeout.
const maxWait = 5 * time.Minute

// flags adds the flags that every command which may sweep has.
func (q *asking) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var((*words)(&q.to), "to", "host, host:port, broadcast address or network (10.1.2.0/24) to ask instead of everybody (may be repeated)")
	f.Var((*words)(&q.interfaces), "interface", "network interface to ask on; default: every usable one (may be repeated)")
	f.Var((*words)(&q.subnets), "subnet", "network behind a router (10.9.0.0/16) to ask through a host there, instead of everybody (may be repeated)")
	f.DurationVar(&q.wait, "wait", longestWait, "how long to listen for answers at most; by mqtt 1s unless it is said")
	q.waitSaid = func() bool { return f.Changed("wait") }
	f.IntVar(&q.port, "port", discover.Port, "UDP port to ask")
	q.via = viaUDP
}

// words is a flag of words with commas between them, which may be repeated. Unlike pflag's own it keeps the empty word, so that
// `--to "$HOST"` without a HOST is refused, and does not ask everybody.
type words []string

// String returns the words with commas between them.
func (w *words) String() string { return strings.Join(*w, ",") }

// Set adds words.
func (w *words) Set(s string) error {
	*w = append(*w, strings.Split(s, ",")...)
	return nil
}

// Type returns how the help names such a flag.
func (w *words) Type() string { return "strings" }

// validWait refuses times that nobody means.
func validWait(flag string, d time.Duration) error {
	if d <= 0 || d > maxWait {
		return usagef("%s: %s is not more than 0 and at most %s", flag, d, maxWait)
	}
	return nil
}

// check refuses values that the types of the flags allow and that can't be.
func (q *asking) check() error {
	if err := validWait("--wait", q.wait); err != nil {
		return err
	}
	if q.port < 1 || q.port > 65535 {
		return usagef("--port: %d is not from 1 to 65535", q.port)
	}
	for _, s := range q.to {
		if host, _ := splitTo(s); host == "" {
			return usagef("--to: %q is neither HOST nor HOST:PORT", s)
		}
	}
	if _, err := q.networks(); err != nil {
		return err
	}
	if slices.Contains(q.interfaces, "") {
		return usagef(`--interface: "" is no network interface`)
	}
	if err := discover.ValidSelector(q.want); err != nil {
		return usagef("--want: %v", err)
	}
	if q.via != viaUDP && q.waitSaid != nil && !q.waitSaid() {
		q.wait = collectWait
	}
	switch q.via {
	case viaUDP:
	case viaMQTT, viaBoth:
		if err := reports.ValidTopic(q.topic); err != nil {
			return usagef("--topic: %v", err)
		}
	default:
		return usagef("--via: %q is none of udp, mqtt, both", q.via)
	}
	return nil
}

// networks returns --subnet.
func (q *asking) networks() (out []netip.Prefix, err error) {
	for _, s := range q.subnets {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 30:
			return nil, usagef("--subnet: %q is not an IPv4 network such as 10.9.0.0/16", s)
		case q.via != viaUDP:
			return nil, usagef("--subnet: answers come by UDP, not --via %s", q.via)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// splitTo takes an element of --to apart: the host is a name or an address, "" if it is neither; the port is "" where none is
// named.
func splitTo(s string) (host, port string) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, ""
	}
	if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() {
		return s, ""
	}
	host = s
	if strings.Contains(s, ":") {
		var err error
		host, port, err = net.SplitHostPort(s)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
			return "", ""
		}
	}
	if !validHost(host) {
		return "", ""
	}
	return host, port
}

// lookupWait bounds how long a name of --to may take to be looked up.
const lookupWait = 3 * time.Second

// addresses returns --to with names looked up.
func (q *asking) addresses(ctx context.Context) (out []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	for _, s := range q.to {
		host, port := splitTo(s)
		if strings.Contains(host, "/") {
			out = append(out, host) // a network
			continue
		}
		ip, err := netip.ParseAddr(host)
		if err != nil {
			ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host) // IPv4 is what every host listens on
			if err != nil {
				return nil, fmt.Errorf("--to %s: %w", host, err)
			}
			ip = ips[0].Unmap()
		}
		if port == "" {
			out = append(out, ip.String())
		} else {
			out = append(out, net.JoinHostPort(ip.String(), port))
		}
	}
	return out, nil
}

// viaBoth is the word of --via for both ways.
const viaBoth = "both"

// news is what one answer of a host added.
type news struct {
	host     *host
	services []reports.FoundService
	fresh    bool
}

// round is how one sweep went.
type round struct {
	*roll
	id      uint64
	elapsed time.Duration
	stats   discover.SweepStats
	answers []discover.Answer // by UDP, that were taken in
	missing []string          // names of known hosts that did not answer
	wrong   int               // messages by MQTT that were no answers
	dropped int               // answers by MQTT that came too fast
	whole   bool              // it was not interrupted
	show    func(news)

	progress *progress
}

// took returns how long the sweep took, as a person reads it.
func (rd *round) took() time.Duration { return rd.elapsed.Round(time.Millisecond) }

// ask sweeps once. It calls show, if that is not nil, for each piece of news as it comes in. The collector may be nil. An
// interruption is no error: what was heard until then is returned.
func (q *asking) ask(ctx context.Context, a *app, c *collector, expect []discover.Known, show func(news)) (*round, error) {
	rd := &round{roll: newRoll(), id: rand.Uint64N(1<<53-1) + 1, show: show}
	if !q.silent {
		rd.progress = a.begin("asking who is there")
		defer rd.progress.end()
	}
	conf, who, err := q.config(ctx, a, rd.id, expect)
	if err != nil {
		return rd, err
	}
	rd.trust = who
	start := time.Now()
	answers := make(chan discover.Answer, backlog)
	swept := make(chan error, 1)
	sweep := func() {
		var err error
		rd.stats, err = discover.Sweep(ctx, conf, func(an discover.Answer) { answers <- an })
		close(answers)
		swept <- err
	}
	if c == nil {
		go sweep()
		rd.listen(ctx, answers, nil, nil) // the sweep itself knows when it is complete
	} else {
		conf.ReplyTo, conf.Topic, conf.BrokerPort = c.replyTo, c.topic, c.port
		wrong, dropped := c.wrong.Load(), c.dropped.Load()
		c.collect(rd.id)
		enough := time.NewTimer(q.wait)
		defer enough.Stop()
		go sweep()
		rd.listen(ctx, answers, c.reports, enough.C)
		rd.wrong, rd.dropped = int(c.wrong.Load()-wrong), int(c.dropped.Load()-dropped)
	}
	if err := <-swept; err != nil {
		return rd, fmt.Errorf("sweep: %w", err)
	}
	if rd.trust != nil {
		rd.distrusted = append(rd.distrusted, rd.trust.strange(rd.stats.Changed)...)
		if err := rd.trust.keep(); err != nil {
			a.log().Debug("secrets are not saved", "err", err)
		}
	}
	rd.elapsed, rd.whole = time.Since(start), ctx.Err() == nil
	return rd, nil
}

// config returns what a sweep has to know, and who sweeps; nil if that is of no account.
func (q *asking) config(ctx context.Context, a *app, id uint64, expect []discover.Known) (discover.SweepConfig, *identity, error) {
	to, err := q.addresses(ctx)
	conf := discover.SweepConfig{ID: id, Port: q.port, To: to, Interfaces: q.interfaces, Wait: q.wait, Want: q.want,
		Sealed: q.via != viaMQTT, Legacy: q.via != viaUDP, Expect: expect, Log: a.log()}
	if err != nil {
		return conf, nil, err
	}
	if conf.Subnets, err = q.networks(); err != nil || !conf.Sealed {
		return conf, nil, err
	}
	if len(conf.Subnets) > 0 {
		conf.Relays = a.openCache().relays(conf.Subnets)
	}
	who, err := a.who()
	if err != nil {
		return conf, nil, err
	}
	conf.Key, conf.Known, conf.Keyring = who.key, who.keyOf, &who.ring
	return conf, who, nil
}

// listen takes answers in until the sweep has ended, which closes answers, and, where reports are collected, time is up or ctx
// ends.
func (rd *round) listen(ctx context.Context, answers <-chan discover.Answer, reported <-chan reports.Report, timeUp <-chan time.Time) {
	id, done := reports.ID(strconv.FormatUint(rd.id, 10)), ctx.Done()
	report := func(rep reports.Report) {
		if rep.ID == id { // one of the last round may still have been on its way
			rd.take(rd.report(rep))
		}
	}
	for answers != nil || timeUp != nil {
		select {
		case an, ok := <-answers:
			if !ok {
				answers = nil
				continue
			}
			h, services, fresh := rd.answer(an)
			if h != nil {
				rd.answers = append(rd.answers, an)
			}
			rd.take(h, services, fresh)
		case rep := <-reported:
			report(rep)
		case <-timeUp:
			timeUp = nil
		case <-done:
			timeUp, done = nil, nil
		}
	}
	for range len(reported) {
		report(<-reported)
	}
}

// take shows what an answer added, if it added anything.
func (rd *round) take(h *host, services []reports.FoundService, fresh bool) {
	if h != nil {
		rd.progress.set("asking who is there: %s", plural(len(rd.hosts), "host"))
	}
	if h != nil && rd.show != nil && (fresh || len(services) > 0) {
		rd.show(news{h, services, fresh})
	}
}
