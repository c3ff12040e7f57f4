package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
)

// The figures of docs/benchmarks.md: `make bench` prints them. Each is compared with a floor measured in the same run.

var (
	benchRole  = flag.String("role", "", "echo, floor, sweep or known; for TestBenchHelper alone")
	benchHosts = flag.Int("hosts", 0, "how many hosts answer")
	benchRuns  = flag.Int("runs", 40, "how often to ask")
	benchEvery = flag.Duration("every", 300*time.Millisecond, "how long after one question the next is asked")
)

// The bare request/reply that sweeps are measured against has datagrams of the same size as ours.
const (
	floorPort    = 37031
	requestBytes = 1200
	replyBytes   = 400
)

// TestBenchHelper is no test: it is the programs that benchmarks run in namespaces.
func TestBenchHelper(t *testing.T) {
	switch *benchRole {
	case "":
		t.Skip("run by benchmarks as a program")
	case "echo":
		echo(t)
	case "floor":
		report(t, floor)
	case "sweep":
		report(t, timeSweep(false))
	case "known":
		report(t, timeSweep(true))
	}
}

// echo answers every datagram with one of replyBytes, and does nothing else.
func echo(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: floorPort})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("echoing")
	t.Fatal(echoOn(conn))
}

func echoOn(conn *net.UDPConn) error {
	in, out := make([]byte, 2000), make([]byte, replyBytes)
	for {
		_, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			return err
		}
		_, _ = conn.WriteToUDPAddrPort(out, from) // a lost answer is a lost answer
	}
}

// floor broadcasts one request and returns how long it took until all hosts had answered.
func floor() (time.Duration, error) { return floorOn(24, *benchHosts) }

// floorOn is floor for a network with a prefix of so many bits.
func floorOn(bits, hosts int) (time.Duration, error) {
	broadcast := net.IPv4(10, 77, 0, 255)
	if bits == 16 {
		broadcast = net.IPv4(10, 77, 255, 255)
	}
	conn, err := discover.Listen("0.0.0.0:0")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	start := time.Now()
	if _, err := conn.WriteTo(make([]byte, requestBytes), &net.UDPAddr{IP: broadcast, Port: floorPort}); err != nil {
		return 0, err
	}
	_ = conn.SetReadDeadline(start.Add(2 * time.Second))
	seen := map[string]bool{}
	buf := make([]byte, 2000)
	for len(seen) < hosts {
		_, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return 0, err
		}
		seen[from.String()] = true
	}
	return time.Since(start), nil
}

// timeSweep returns what sweeps and returns how long it took until all hosts had been found: hosts that nobody knows, or those of the
// sweep before.
func timeSweep(remember bool) func() (time.Duration, error) {
	var known []discover.Known
	return func() (time.Duration, error) {
		c := discover.SweepConfig{Wait: 2 * time.Second, Sealed: true}
		if remember {
			c.Expect = known
		}
		known = nil
		last := time.Duration(0)
		_, err := discover.Sweep(context.Background(), c, func(a discover.Answer) {
			known = append(known, discover.Known{ID: a.Host.ID, At: a.From})
			last = max(last, a.After)
		})
		if len(known) == *benchHosts {
			return last, nil
		}
		return 0, errors.Join(err, fmt.Errorf("%d of %d hosts answered", len(known), *benchHosts))
	}
}

// report asks as often as told and prints the median and the 90th percentile in microseconds.
func report(t *testing.T, once func() (time.Duration, error)) {
	var took []time.Duration
	missed := 0
	tick := time.NewTicker(*benchEvery)
	for i := range *benchRuns + 3 {
		d, err := once()
		switch {
		case i < 3: // address resolution, first page faults
		case err != nil:
			missed++
			fmt.Fprintln(os.Stderr, err)
		default:
			took = append(took, d)
		}
		<-tick.C
	}
	if len(took) == 0 {
		t.Fatal("never complete")
	}
	slices.Sort(took)
	fmt.Printf("took %d %d %d %d\n", took[len(took)/2].Microseconds(), took[len(took)*9/10].Microseconds(), took[0].Microseconds(), missed)
}

func BenchmarkSweep(b *testing.B) {
	Need(b)
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			l := NewLAN(b, n+1)
			for i := 1; i <= n; i++ {
				l.Boot(i, HostConfig{})
				l.Start(i, false, os.Args[0], "-test.run", "^TestBenchHelper$", "-role", "echo").WaitLine("echoing", patience)
			}
			<-time.After(2 * time.Second) // what start-up left to do
			ask := func(role string) (median, p90 float64) {
				out, errs, status := l.Run(n+1, os.Args[0], "-test.run", "^TestBenchHelper$", "-role", role, "-hosts", strconv.Itoa(n), "-runs", strconv.Itoa(*benchRuns), "-every", benchEvery.String())
				var m, p, best, missed int
				if _, err := fmt.Sscanf(out, "took %d %d %d %d", &m, &p, &best, &missed); err != nil || status != 0 {
					b.Fatalf("%s: %v\n%s%s", role, err, out, errs)
				}
				if missed > 0 {
					b.Logf("%s: %d of %d runs were not complete\n%s", role, missed, *benchRuns, errs)
				}
				return float64(m) / 1000, float64(p) / 1000
			}
			for range b.N {
				// Twice each, in turns, and the lower median counts: other work on the machine only ever adds.
				f1, fp := ask("floor")
				s1, sp := ask("sweep")
				f2, _ := ask("floor")
				s2, _ := ask("sweep")
				k1, _ := ask("known")
				k2, _ := ask("known")
				f, s := min(f1, f2), min(s1, s2)
				b.ReportMetric(f, "ms-floor")
				b.ReportMetric(s, "ms-sweep")
				b.ReportMetric(fp, "ms-floor-p90")
				b.ReportMetric(sp, "ms-sweep-p90")
				b.ReportMetric(s/f, "ratio")
				b.ReportMetric(min(k1, k2)/f, "ratio-known")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkIdle measures what a host costs that does nothing: resident memory and CPU over ten seconds.
func BenchmarkIdle(b *testing.B) {
	Need(b)
	l := NewLAN(b, 1)
	h := l.Boot(1, HostConfig{})
	<-time.After(5 * time.Second)
	for range b.N {
		const over = 20 * time.Second
		um, am := cpu(b, h.Udpmon.Pid()), cpu(b, h.Agentd.Pid())
		<-time.After(over)
		b.ReportMetric(100*(cpu(b, h.Udpmon.Pid())-um).Seconds()/over.Seconds(), "%cpu-udpmon")
		b.ReportMetric(100*(cpu(b, h.Agentd.Pid())-am).Seconds()/over.Seconds(), "%cpu-agentd")
		b.ReportMetric(rss(b, h.Udpmon.Pid()), "MB-udpmon")
		b.ReportMetric(rss(b, h.Agentd.Pid()), "MB-agentd")
		b.ReportMetric(0, "ns/op")
	}
}

// rss returns the resident size in MB (proc(5), VmRSS).
func rss(b testing.TB, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			return kb / 1000
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// cpu returns the CPU time that the process has used (proc(5), the first field of schedstat is in ns; summed over threads).
func cpu(b testing.TB, pid int) time.Duration {
	b.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		var ns int64
		if _, scanned := fmt.Sscan(string(text), &ns); err == nil && scanned == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}

// BenchmarkStart measures the time from the start of agentd to its first retained description.
func BenchmarkStart(b *testing.B) {
	Need(b)
	l := NewLAN(b, 1)
	h := l.Boot(1, HostConfig{Listen: "0.0.0.0:1883"})
	h.Agentd.Stop()
	for range b.N {
		var took []time.Duration
		for range 15 {
			l.Run(1, "mosquitto_pub", "-r", "-n", "-t", "/pi1/gpio/description")
			sub := l.Start(1, false, "stdbuf", "-oL", "mosquitto_sub", "-d", "-t", "/pi1/gpio/description", "-C", "1", "-F", "came %t")
			sub.WaitLine("SUBACK", patience)
			start := time.Now()
			agent := l.Start(1, false, "agentd", "--config", h.File)
			sub.WaitLine("came /pi1/gpio/description", patience)
			took = append(took, time.Since(start))
			agent.Stop()
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
		b.ReportMetric(0, "ns/op")
	}
}

var latency = flag.String("latency", "", "broker to measure set latency at; for TestLatencyHelper alone")

// TestLatencyHelper is no test: it measures, against a running host, publish → receive and set → state received.
func TestLatencyHelper(t *testing.T) {
	if *latency == "" {
		t.Skip("run by benchmarks as a program")
	}
	ctx, client := t.Context(), bustest.Dial(t, *latency)
	got := make(chan struct{}, 100)
	if err := client.Subscribe(ctx, 1, func(m bus.Message) {
		if !m.Retained {
			got <- struct{}{}
		}
	}, "/bench", "/bench/pong", "/pi1/gpio/output/led"); err != nil {
		t.Fatal(err)
	}
	measure := func(topic string, payload func(int) string) time.Duration {
		var took []time.Duration
		for i := range 1000 {
			start := time.Now()
			client.Send(bus.Message{Topic: topic, Payload: []byte(payload(i)), QoS: 1})
			select {
			case <-got:
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: nothing came back", topic)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	onOff := func(i int) string { return []string{"ON", "OFF"}[i%2] }
	for range 3 {
		floor := measure("/bench", onOff)
		relayed := measure("/bench/ping", onOff)
		set := measure("/pi1/gpio/set/output/led", onOff)
		fmt.Printf("latency %d %d %d\n", floor.Nanoseconds(), relayed.Nanoseconds(), set.Nanoseconds())
	}
}

// TestRelayHelper is no test: it publishes again what it receives, and does nothing else.
func TestRelayHelper(t *testing.T) {
	if *latency == "" {
		t.Skip("run by benchmarks as a program")
	}
	client := bustest.Dial(t, *latency)
	relay := func(m bus.Message) { client.Send(bus.Message{Topic: "/bench/pong", Payload: m.Payload, QoS: 1}) }
	if err := client.Subscribe(t.Context(), 1, relay, "/bench/ping"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("relaying")
	select {} // until it is killed
}

// BenchmarkSetProcesses measures set → line changed → state received, over the embedded broker with the in-memory chip, each in
// a process of its own, against a bare publish → receive, and against a relay in a process of its own.
func BenchmarkSetProcesses(b *testing.B) {
	Need(b)
	l := NewLAN(b, 1)
	l.Boot(1, HostConfig{Agents: "  gpio: {chip: sim, outputs: {led: {pin: 17}}}\n"})
	relay := l.Start(1, false, os.Args[0], "-test.run", "^TestRelayHelper$", "-latency", "tcp://127.0.0.1:1883")
	relay.WaitLine("relaying", patience)
	for range b.N {
		out, errs, status := l.Run(1, os.Args[0], "-test.run", "^TestLatencyHelper$", "-latency", "tcp://127.0.0.1:1883")
		if status != 0 {
			b.Fatalf("%s%s", out, errs)
		}
		floor, relayed, set := time.Hour, time.Hour, time.Hour
		for line := range strings.Lines(out) {
			var f, r, s time.Duration
			if _, err := fmt.Sscanf(line, "latency %d %d %d", &f, &r, &s); err == nil {
				floor, relayed, set = min(floor, f), min(relayed, r), min(set, s)
			}
		}
		b.ReportMetric(float64(floor.Microseconds()), "µs-floor")
		b.ReportMetric(float64(set.Microseconds()), "µs-set")
		b.ReportMetric(float64(relayed.Microseconds()), "µs-relayed")
		b.ReportMetric(float64(set)/float64(floor), "set/floor")
		b.ReportMetric(float64(set)/float64(relayed), "set/relayed")
		b.ReportMetric(0, "ns/op")
	}
}
