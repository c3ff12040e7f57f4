package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/bus"
)

// spying is the options of spy.
type spying struct {
	format
	count int
	host  string
	udp   bool

	janitoo bool
	asking
}

// spied is what spy --json prints of a message.
type spied struct {
	Time     time.Time `json:"time"`
	Topic    string    `json:"topic"`
	Payload  string    `json:"payload"`
	QoS      byte      `json:"qos"`
	Retained bool      `json:"retained"`
}

func newSpy(a *app) *cobra.Command {
	var s spying
	cmd := &cobra.Command{
		Use:   "spy [TOPIC...]",
		Short: "Print the messages of a broker as they come",
		Long: `Print the messages of a broker as they come: of this machine's own, or of the one that --broker names. TOPIC may have the
wildcards + and #; without one all messages are printed. Messages that the broker had retained are marked.

With --janitoo it prints what Janitoo's programs say to each other, in words: requests, replies, values and heartbeats.

With --udp it prints the datagrams of discovery instead, one a line, and opens what is sealed for your key. Those between other
machines, as far as they pass this one, and all replies need CAP_NET_RAW (run it as root); without, it hears what is sent to everybody.`,
		Example: "  udpsrv spy\n  udpsrv --broker pizero2 spy '/pizero2/gpio/#'\n  udpsrv spy -n 1 /pizero2/status\n  udpsrv spy --janitoo\n  sudo udpsrv spy --udp --keys ~/.config/rollcall",

		ValidArgsFunction: completeTopic(a),
		RunE:              action(func(ctx context.Context, args []string) error { return s.run(ctx, a, args) }),
	}
	s.asking.flags(cmd)
	cmd.Flags().StringVar(&s.host, "host", "", "host whose broker to listen to")
	cmd.Flags().BoolVar(&s.udp, "udp", false, "print the datagrams of discovery instead, on the interfaces of --interface, or on all")
	cmd.Flags().BoolVar(&s.janitoo, "janitoo", false, "print the messages of Janitoo's protocol, in words")
	s.format.flags(cmd, "each message")
	cmd.Flags().IntVarP(&s.count, "count", "n", 0, "end after so many messages; 0: never")
	return cmd
}

func (s *spying) run(ctx context.Context, a *app, topics []string) error {
	if s.count < 0 {
		return usagef("--count: %d is less than 0", s.count)
	}
	if s.udp {
		if len(topics) > 0 || s.host != "" || a.named != nil || s.janitoo {
			return usagef("--udp is about datagrams: it goes with no TOPIC, --host, --janitoo or --broker")
		}
		return s.spyUDP(ctx, a)
	}
	switch {
	case len(topics) > 0:
	case s.janitoo:
		topics = janitooTopics()
	default:
		topics = []string{"#"}
	}
	for _, t := range topics {
		if err := validFilter(t); err != nil {
			return err
		}
	}
	p := a.begin("connecting")
	defer p.end()
	listen := func(ctx context.Context, l *link) error {
		p.end()
		return s.listen(ctx, a, l, topics)
	}
	if s.host != "" {
		err := a.reach(ctx, target{host: s.host}, &s.asking, listen)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	b := brokerURL{Host: "127.0.0.1", Port: portMQTT}
	if a.named != nil {
		b = *a.named
	}
	b, err := a.pinNamed(b)
	if err != nil {
		return err
	}
	err = withBroker(ctx, a, b, connectWait, listen)
	if ctx.Err() != nil {
		return nil // being interrupted is how spy ends
	}
	return err
}

// listen prints messages until there were enough or ctx ends.
func (s *spying) listen(ctx context.Context, a *app, l *link, topics []string) error {
	messages := make(chan bus.Message, backlog)
	lost := make(chan struct{}, 1)
	receive := func(m bus.Message) {
		select {
		case messages <- m:
		default: // the printer is too slow; the reader of the socket must not wait for it
			select {
			case lost <- struct{}{}:
			default:
			}
		}
	}
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := l.Subscribe(wait, 1, receive, topics...); err != nil {
		return fmt.Errorf("subscribe at %s: %w", l.name, err)
	}
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
			a.warnf("messages came too fast; some are not shown")
			n--
		case m := <-messages:
			if err := s.show(a, m); err != nil {
				return err
			}
			if n == s.count {
				return nil
			}
		}
	}
}

func (s *spying) show(a *app, m bus.Message) error {
	if s.janitoo {
		return s.printJanitoo(a, m)
	}
	if s.asked() {
		return s.next(a.out, spied{time.Now().UTC(), m.Topic, string(m.Payload), m.QoS, m.Retained})
	}
	line := clean(m.Topic) + " " + clean(string(m.Payload))
	if m.Retained {
		line += " (retained)"
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// validFilter refuses what is no topic filter (MQTT 3.1.1 §4.7.1).
func validFilter(s string) error {
	levels := strings.Split(s, "/")
	for i, l := range levels {
		hash := strings.Contains(l, "#") && (l != "#" || i < len(levels)-1)
		plus := strings.Contains(l, "+") && l != "+"
		if hash || plus {
			return usagef("topic %q: + and # stand for whole levels, # at the end only", s)
		}
	}
	if s == "" || len(s) > 65535 || clean(s) != s {
		return usagef("topic %.40q is empty, too long or has control characters", s)
	}
	return nil
}
