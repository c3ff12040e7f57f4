package lab

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

var (
	relayRole = flag.String("relay-role", "", "echo, rtt, local or far; for TestRelayBenchHelper alone")
	relayKey  = flag.String("relay-key", "", "file of the operator's key")
	relayAt   = flag.String("relay-at", "", "where to measure the round trip to")
)

const relayEchoPort = 37032

// TestRelayBenchHelper is no test: it is the programs that BenchmarkRelay runs in namespaces.
func TestRelayBenchHelper(t *testing.T) {
	switch *relayRole {
	case "":
		t.Skip("run by benchmarks as a program")
	case "echo":
		echoBack(t)
	case "rtt":
		reportTimes(t, pingPong(t))
	case "local", "far":
		reportTimes(t, askSealed(t, *relayRole == "far"))
	}
}

// echoBack answers every datagram with itself.
func echoBack(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: relayEchoPort})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("echoing")
	buf := make([]byte, 2000)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // a lost answer is a lost answer
	}
}

// pingPong returns what measures the way there and back of a datagram of a request's size.
func pingPong(t *testing.T) func() (last, all time.Duration, err error) {
	conn, err := net.Dial("udp4", net.JoinHostPort(*relayAt, strconv.Itoa(relayEchoPort)))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, requestBytes)
	return func() (last, all time.Duration, err error) {
		start := time.Now()
		if _, err := conn.Write(buf); err != nil {
			return 0, 0, err
		}
		_ = conn.SetReadDeadline(start.Add(2 * time.Second))
		_, err = conn.Read(buf)
		return time.Since(start), time.Since(start), err
	}
}

// askSealed returns what sweeps hosts whose keys are known and of which no more is known than where some are: on the own network or,
// through a relay, on 10.78.0.0/24. It takes so long until the last of them was found, and until the sweep returned.
func askSealed(t *testing.T, far bool) func() (last, all time.Duration, err error) {
	key, _, err := trust.LoadOrMakeKey(*relayKey, "bench")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[discover.ID]ed25519.PublicKey{}
	at := map[discover.ID]discover.Known{} // eight relays: the namespaces share one table of neighbours, of 1,024 entries
	var ring discover.Keyring
	return func() (last, all time.Duration, err error) {
		known := map[discover.ID]ed25519.PublicKey{}
		for id, k := range keys {
			known[id] = k
		}
		c := discover.SweepConfig{Sealed: true, Key: key, Keyring: &ring, Known: func(id discover.ID) (ed25519.PublicKey, bool) { k, ok := known[id]; return k, ok }}
		if far {
			c.Subnets = []netip.Prefix{netip.MustParsePrefix("10.78.0.0/24")}
			c.Relays = slices.Collect(maps.Values(at))
		}
		n := 0
		stats, err := discover.Sweep(context.Background(), c, func(a discover.Answer) {
			n++
			keys[a.Host.ID] = a.Host.Key
			if _, ok := at[a.Host.ID]; ok || len(at) < 8 {
				k := discover.Known{ID: a.Host.ID, At: a.From, Bits: a.Bits}
				copy(k.MAC[:], a.Host.MAC)
				at[a.Host.ID] = k
			}
			last = max(last, a.After)
		})
		if err == nil && (n != *benchHosts || !stats.Complete) {
			err = errors.Join(err, fmt.Errorf("%d of %d hosts answered, complete: %v %s", n, *benchHosts, stats.Complete, stats.Why))
		}
		return last, stats.Elapsed, err
	}
}

// reportTimes measures as often as told and prints the medians in microseconds and how often it failed.
func reportTimes(t *testing.T, once func() (last, all time.Duration, err error)) {
	var lasts, alls []time.Duration
	missed := 0
	tick := time.NewTicker(*benchEvery)
	for i := range *benchRuns + 3 {
		last, all, err := once()
		switch {
		case i < 3: // address resolution, keys, first page faults
		case err != nil:
			missed++
			fmt.Fprintln(os.Stderr, err)
		default:
			lasts, alls = append(lasts, last), append(alls, all)
		}
		<-tick.C
	}
	if len(lasts) == 0 {
		t.Fatal("never complete")
	}
	slices.Sort(lasts)
	slices.Sort(alls)
	fmt.Printf("took %d %d %d\n", lasts[len(lasts)/2].Microseconds(), alls[len(alls)/2].Microseconds(), missed)
}

// BenchmarkRelay measures a sweep of a network behind two routers through a relay, against the way there and back and a sweep
// from within that network, in the same run.
func BenchmarkRelay(b *testing.B) {
	Need(b)
	for _, c := range []struct {
		hosts int
		delay time.Duration
		loss  float64
	}{{10, 0, 0}, {10, 10 * time.Millisecond, 0}, {50, 10 * time.Millisecond, 0}, {10, 10 * time.Millisecond, 0.1}, {50, 10 * time.Millisecond, 0.1}} {
		b.Run(fmt.Sprintf("hosts=%d/line=%v/loss=%v", c.hosts, c.delay, c.loss), func(b *testing.B) {
			r := NewRouted(b, 1, c.hosts+1, c.delay, c.loss)
			inside := c.hosts + 2 // asks its own network
			for i := 2; i < inside; i++ {
				r.BootFar(b, i, "")
			}
			program := []string{os.Args[0], "-test.run", "^TestRelayBenchHelper$", "-relay-key", filepath.Join(r.dir, "config-1", "rollcall", "id_ed25519"),
				"-hosts", strconv.Itoa(c.hosts), "-runs", "20", "-every", "400ms", "-relay-at", r.FarAddr(2), "-relay-role"}
			echo := append(slices.Clone(program[1:]), "echo")
			r.Start(2, false, program[0], echo...).WaitLine("echoing", patience)
			<-time.After(2 * time.Second) // what start-up left to do
			ask := func(i int, role string) (last, all float64) {
				out, errs, status := r.Run(i, program[0], append(slices.Clone(program[1:]), role)...)
				var l, a, missed int
				if _, err := fmt.Sscanf(lineOf(out, "took"), "took %d %d %d", &l, &a, &missed); err != nil || status != 0 {
					b.Fatalf("%s: %v\n%s%s", role, err, out, errs)
				}
				if missed > 0 && role != "rtt" { // a datagram there and back is lost now and then
					b.Errorf("%s: %d of 20 were not complete\n%s", role, missed, errs)
				}
				return float64(l) / 1000, float64(a) / 1000
			}
			for range b.N {
				rtt, _ := ask(1, "rtt")
				local, localAll := ask(inside, "local")
				far, farAll := ask(1, "far")
				b.ReportMetric(rtt, "ms-rtt")
				b.ReportMetric(local, "ms-local")
				b.ReportMetric(far, "ms-relayed")
				b.ReportMetric(localAll, "ms-local-returns")
				b.ReportMetric(farAll, "ms-relayed-returns")
				b.ReportMetric((far-local)/rtt, "rtts-more")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// lineOf returns the first line that begins so.
func lineOf(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}
