package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// How long answers are waited for. Janitoo's servers answer within a tenth of a second.
const (
	networkWait = 12 * time.Second
	nodeWait    = 8 * time.Second
	nobody      = 3 * time.Second        // without any answer, where it is not known who is there
	strangers   = time.Second            // without another answer, where it is not known who is there
	stragglers  = 100 * time.Millisecond // without an answer, once all who are known have answered
	askAgain    = time.Second            // a known controller that has not answered is asked once more, by its own topic
)

// allInfos is the word of --vuuid for all six requests.
const allInfos = "all"

// janitooDiscovery is the options of network and node.
type janitooDiscovery struct {
	janitooAsked
	vuuid string
	one   bool   // node
	hadd  string // of node

	uuid, nodeUUID, location int // widths of columns, which differ between Janitoo's network and node
}

func newNetwork(a *app) *cobra.Command {
	d := janitooDiscovery{uuid: 25, nodeUUID: 20, location: 25}
	cmd := &cobra.Command{
		Use:   "network",
		Short: "List the nodes or values of all Janitoo controllers at a broker",
		Long: `Ask all controllers at an MQTT broker for their nodes or values, in Janitoo's protocol: Janitoo's own servers, and hosts that speak it
(faces: janitoo). It ends as soon as all known controllers have answered: those that answered the last time at this broker. Where none is
known it ends when no more answers have come for a second.`,
		Example: "  udpsrv network\n  udpsrv network --host pizero2 --vuuid request_info_users\n  udpsrv network --vuuid all --json\n  udpsrv network --cmdclass switch_binary",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return d.run(ctx, a) }),
	}
	d.flags(cmd, networkWait)
	return cmd
}

func newNode(a *app) *cobra.Command {
	d := janitooDiscovery{uuid: 30, nodeUUID: 30, location: 20, one: true}
	cmd := &cobra.Command{
		Use:     "node --hadd CCCC/NNNN",
		Short:   "List the nodes or values of one Janitoo controller",
		Long:    `Ask one node for its nodes or values, in Janitoo's protocol. Its controller answers, with all of its nodes. It ends with the answer.`,
		Example: "  udpsrv node --hadd 0121/0000\n  udpsrv node --hadd 0121/0000 --vuuid request_info_configs --host pizero2",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return d.run(ctx, a) }),
	}
	cmd.Flags().StringVar(&d.hadd, "hadd", "", "address of the node, such as 0121/0000")
	_ = cmd.MarkFlagRequired("hadd") // the only error is that of a flag that is not there
	d.flags(cmd, nodeWait)
	return cmd
}

func (d *janitooDiscovery) flags(cmd *cobra.Command, timeout time.Duration) {
	d.janitooAsked.flags(cmd, timeout)
	cmd.Flags().StringVar(&d.vuuid, "vuuid", wire.InfoNodes, "what to ask for: "+strings.Join(wire.Infos(), ", ")+" or all")
	cmd.Flags().StringVar(&d.class, "cmdclass", "", "only nodes or values of this command class, by number or name")
	_ = cmd.RegisterFlagCompletionFunc("vuuid", cobra.FixedCompletions(append(wire.Infos(), allInfos), cobra.ShellCompDirectiveNoFileComp)) // as above
}

// vuuids returns what is asked for.
func (d *janitooDiscovery) vuuids() ([]string, error) {
	if d.vuuid == allInfos {
		return wire.Infos(), nil
	}
	if _, ok := wire.InfoGenre(d.vuuid); !ok {
		return nil, usagef("--vuuid: %q is none of %s, all", d.vuuid, strings.Join(wire.Infos(), ", "))
	}
	return []string{d.vuuid}, nil
}

func (d *janitooDiscovery) run(ctx context.Context, a *app) error {
	infos, err := d.vuuids()
	if err != nil {
		return err
	}
	if err := d.check(a); err != nil {
		return err
	}
	if d.one {
		if _, err := wire.ParseHadd(d.hadd); err != nil {
			return usagef("--hadd: %q is no address CCCC/NNNN", d.hadd)
		}
	}
	began := time.Now()
	var found *janitooFound
	err = d.reach(ctx, a, func(ctx context.Context, l *link) error {
		if d.one {
			found, err = d.askNode(ctx, a, l, infos)
		} else {
			found, err = d.askAll(ctx, a, l, infos)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.print(a, found, infos, time.Since(began)); err != nil {
		return err
	}
	switch {
	case len(found.answered) > 0:
		return nil
	case d.one:
		return fmt.Errorf("no answer from %s within %s", d.hadd, d.timeout)
	}
	return errors.New("no Janitoo controller answered")
}

// askNode asks one node for all of infos, and ends when it has answered them.
func (d *janitooDiscovery) askNode(ctx context.Context, a *app, l *link, infos []string) (*janitooFound, error) {
	found := newJanitooFound(infos)
	if d.output == outputRaw {
		found.raw = func(m bus.Message) { printRaw(a, m) }
	}
	if err := d.listen(ctx, l, found.receive, wire.ReplyTopic(d.my)); err != nil {
		return nil, err
	}
	for _, info := range infos {
		if err := d.send(ctx, l, wire.RequestTopic(wire.Hadd(d.hadd)), wire.Discovery(info, wire.Hadd(d.my)).Marshal()); err != nil {
			return nil, err
		}
	}
	end := time.NewTimer(d.timeout)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-end.C:
			return found, nil
		case <-found.changed:
			if found.has(1) {
				return found, nil
			}
		}
	}
}

// askAll asks all controllers for all of infos, and for their nodes in any case, which tells how many there are. It ends as soon as all
// who are known have answered.
func (d *janitooDiscovery) askAll(ctx context.Context, a *app, l *link, infos []string) (*janitooFound, error) {
	asked := infos
	if !slices.Contains(infos, wire.InfoNodes) {
		asked = append([]string{wire.InfoNodes}, infos...)
	}
	found := newJanitooFound(asked)
	if d.output == outputRaw {
		found.raw = func(m bus.Message) { printRaw(a, m) }
	}
	cache, scope := a.openCache(), "janitoo "+l.name
	for _, hadd := range cache.Last[scope].IDs {
		if h := wire.Hadd(hadd); h.IsController() {
			found.known[h] = true
		}
	}
	if err := d.listen(ctx, l, found.receive, wire.BroadcastReplyTopic(d.my), wire.ReplyTopic(d.my)); err != nil {
		return nil, err
	}
	for _, info := range asked {
		if err := d.send(ctx, l, wire.BroadcastRequest, wire.Discovery(info, wire.Hadd(d.my)).Marshal()); err != nil {
			return nil, err
		}
	}
	if err := d.await(ctx, l, found); err != nil {
		return nil, err
	}
	if n := l.Missed(); n > 0 {
		a.warnf("%s came too fast and lost", plural(int(min(n, 1<<30)), "message"))
	}
	last := lastSweep{IDs: []string{}, At: time.Now()}
	for _, h := range slices.Sorted(maps.Keys(found.answered)) {
		last.IDs = append(last.IDs, string(h))
	}
	cache.remember(scope, last)
	a.save(cache)
	return found, nil
}

// await returns when all who are known have answered and nobody else has for a moment, or when the time is over.
func (d *janitooDiscovery) await(ctx context.Context, l *link, found *janitooFound) error {
	end, again := time.NewTimer(d.timeout), time.NewTimer(askAgain)
	defer end.Stop()
	defer again.Stop()
	strange := len(found.known) == 0
	quiet := time.NewTimer(nobody)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-end.C:
			return nil
		case <-again.C:
			for _, h := range found.missing() {
				for _, info := range found.asked {
					if err := d.send(ctx, l, wire.RequestTopic(h), wire.Discovery(info, wire.Hadd(d.my)).Marshal()); err != nil {
						return err
					}
				}
			}
		case <-found.changed:
			switch {
			case strange:
				quiet.Reset(strangers)
			case found.complete():
				quiet.Reset(stragglers)
			}
		case <-quiet.C:
			if strange || found.complete() {
				return nil
			}
			quiet.Reset(strangers)
		}
	}
}
