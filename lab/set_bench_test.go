package lab

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// BenchmarkSet measures a set over MQTT with the gpio agent on the in-memory chip, in one process: until the line has changed,
// until the state has been published (it has reached the broker), and until a client has received it. Each median is given as a
// ratio to a bare publish → receive on the same broker; the last also to publish → receive → publish → receive, which is what two
// messages one after the other cost at least.
func BenchmarkSet(b *testing.B) {
	const state = "/pi/gpio/output/led"
	// When each thing last happened. Nobody waits for a stamp: waking the benchmark in the midst of a set would slow the set down.
	var at struct{ line, published, received, bare, relayed atomic.Int64 }
	epoch := time.Now()
	stamp := func(t *atomic.Int64) { t.Store(int64(time.Since(epoch))) }
	done := make(chan struct{}, 16)
	url := bustest.Start(b)
	chip := stampedChip{gpiotest.Sim(), func() { stamp(&at.line) }}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return stampedConn{c, func(frame []byte) {
			if bytes.Contains(frame, []byte(state)) {
				stamp(&at.published)
			}
		}}, err
	}
	conf, err := config.Parse("bench", []byte("host: pi\nstate_dir: "+b.TempDir()+"\nbroker: {url: "+url+"}\nagents: {gpio: {chip: sim, outputs: {led: {pin: 17}}}}\n"))
	if err != nil {
		b.Fatal(err)
	}
	runner, err := agents.NewRunner(agents.RunnerConfig{Config: conf, Factories: agents.All(), Dial: dial, OpenChip: func(string) (gpio.Chip, error) { return chip, nil }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
	<-runner.Ready()

	from, to, relay := bustest.Dial(b, url), bustest.Dial(b, url), bustest.Dial(b, url)
	hear := func(c *bus.Client, topic string, f func(bus.Message)) {
		if err := c.Subscribe(ctx, 1, f, topic); err != nil {
			b.Fatal(err)
		}
	}
	hear(to, "/bare", func(bus.Message) { stamp(&at.bare); done <- struct{}{} })
	hear(to, "/pong", func(bus.Message) { stamp(&at.relayed); done <- struct{}{} })
	hear(to, "/pi/gpio/result", func(bus.Message) { done <- struct{}{} })
	hear(to, state, func(bus.Message) { stamp(&at.received) })
	hear(relay, "/ping", func(m bus.Message) { relay.Send(bus.Message{Topic: "/pong", Payload: m.Payload, QoS: 1}) })
	publish := func(topic, payload string) time.Duration {
		start := time.Since(epoch)
		if err := from.Publish(ctx, bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1}); err != nil {
			b.Fatal(err)
		}
		<-done
		return start
	}
	took := map[*atomic.Int64][]time.Duration{}
	quiet := time.NewTicker(2 * time.Millisecond) // no measurement pays for the acknowledgements of the one before
	defer quiet.Stop()
	for i := range max(b.N, 2000) {
		for _, m := range []struct {
			topic  string
			stamps []*atomic.Int64
		}{{"/bare", []*atomic.Int64{&at.bare}}, {"/ping", []*atomic.Int64{&at.relayed}}, {"/pi/gpio/set/output/led", []*atomic.Int64{&at.line, &at.published, &at.received}}} {
			<-quiet.C
			start := publish(m.topic, []string{"ON", "OFF"}[i%2])
			for _, s := range m.stamps {
				took[s] = append(took[s], time.Duration(s.Load())-start)
			}
		}
	}
	median := func(s *atomic.Int64) float64 {
		slices.Sort(took[s])
		return float64(took[s][len(took[s])/2].Nanoseconds())
	}
	bare := median(&at.bare)
	b.ReportMetric(bare/1000, "µs-bare")
	b.ReportMetric(median(&at.line)/bare, "line/bare")
	b.ReportMetric(median(&at.published)/bare, "published/bare")
	b.ReportMetric(median(&at.received)/bare, "received/bare")
	b.ReportMetric(median(&at.received)/median(&at.relayed), "received/relayed")
	b.ReportMetric(0, "ns/op")
}

// stampedChip calls changed after every SetValue of its lines.
type stampedChip struct {
	gpio.Chip
	changed func()
}

func (c stampedChip) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	l, err := c.Chip.Request(offset, o)
	return stampedLine{l, c.changed}, err
}

type stampedLine struct {
	gpio.Line
	changed func()
}

func (l stampedLine) SetValue(v int) error {
	defer l.changed()
	return l.Line.SetValue(v)
}

// stampedConn calls written after every Write.
type stampedConn struct {
	net.Conn
	written func([]byte)
}

func (c stampedConn) Write(b []byte) (int, error) {
	defer c.written(b)
	return c.Conn.Write(b)
}
