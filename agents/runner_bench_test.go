package agents

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// BenchmarkSet measures a set over MQTT with hardware that takes no time: until the agent is called, and until the state that
// was read back has been received, as ratios of the medians to a bare publish → receive on the same broker, in turns. A set has
// two messages one after the other, so the second ratio can't be below 2.
func BenchmarkSet(b *testing.B) {
	url := bustest.Start(b)
	applied := make(chan time.Time, 1)
	a := newFake()
	for i := range a.points {
		a.points[i].Poll = 0
	}
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		applied <- time.Now()
		return reports.Reading{Path: c.Path, Value: c.Value}, nil
	}
	startRunner(b, RunnerConfig{Config: parse(b, url, b.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{fakeFactory(same(a))}})
	from, to := bustest.Dial(b, url), bustest.Dial(b, url)
	bare, state, result := make(chan time.Time, 1), make(chan time.Time, 1), make(chan string, 1)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for topic, handle := range map[string]func(bus.Message){
		"/bare": func(bus.Message) { bare <- time.Now() },
		"/h/s/relay": func(m bus.Message) {
			now := time.Now()
			if !m.Retained {
				state <- now
			}
		},
		"/h/s/result": func(m bus.Message) { result <- string(m.Payload) },
	} {
		if err := to.Subscribe(ctx, 1, handle, topic); err != nil {
			b.Fatal(err)
		}
	}
	publish := func(topic, payload string) time.Time {
		start := time.Now()
		if err := from.Publish(ctx, bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1}); err != nil {
			b.Fatal(err)
		}
		return start
	}
	value := []string{"ON", "OFF"}
	for publish("/h/s/set/level", "3"); !strings.Contains(<-result, `"ok":true`); publish("/h/s/set/level", "3") { // until it is there
		<-time.After(10 * time.Millisecond)
	}
	<-applied
	select { // the state at the start
	case <-state:
	default:
	}
	quiet := time.NewTicker(time.Millisecond) // so that no measurement pays for the acknowledgements of the one before
	defer quiet.Stop()
	var bares, applies, states []time.Duration
	for i := 0; b.Loop(); i++ {
		<-quiet.C
		start := publish("/bare", "ON")
		bares = append(bares, (<-bare).Sub(start))
		<-quiet.C
		start = publish("/h/s/set/relay", value[i%2])
		applies = append(applies, (<-applied).Sub(start))
		states = append(states, (<-state).Sub(start))
		if r := <-result; !strings.Contains(r, `"ok":true`) {
			b.Fatal(r)
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
	base := median(bares)
	b.ReportMetric(base, "bare-ns")
	b.ReportMetric(median(applies)/base, "apply/bare")
	b.ReportMetric(median(states)/base, "state/bare")
	b.ReportMetric(0, "ns/op")
}
