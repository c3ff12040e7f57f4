package discover

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// perThread adds up a number of each thread of a process that a line of a file of /proc has.
func (c *child) perThread(t testing.TB, file string, read func(line string) (int64, bool)) (sum int64) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/%s", c.pid, task.Name(), file)) // it may have ended
		for line := range strings.Lines(string(text)) {
			if n, ok := read(line); ok {
				sum += n
			}
		}
	}
	return sum
}

// cpu returns the processor time that the child has used (proc(5), schedstat).
func (c *child) cpu(t testing.TB) time.Duration {
	return time.Duration(c.perThread(t, "schedstat", func(line string) (n int64, ok bool) {
		_, err := fmt.Sscan(line, &n)
		return n, err == nil
	}))
}

// wakeups returns how often threads of the child have begun to wait, which is how often they were woken.
func (c *child) wakeups(t testing.TB) int64 {
	return c.perThread(t, "status", func(line string) (n int64, ok bool) {
		_, err := fmt.Sscanf(line, "voluntary_ctxt_switches: %d", &n)
		return n, err == nil
	})
}

// BenchmarkForeign sends datagrams that are not for the host over a socket, 50,000 a second, and measures the processor time that
// they cost its process.
func BenchmarkForeign(b *testing.B) { foreign(b, 100, 2*time.Millisecond) }

// BenchmarkLone is BenchmarkForeign with one datagram at a time, to a host that has nothing else to do.
func BenchmarkLone(b *testing.B) { foreign(b, 1, 10*time.Millisecond) }

func foreign(b *testing.B, burst int, every time.Duration) {
	stranger := mustSign(b, question4(5, 1), newKey(b, "stranger"))
	for name, raw := range map[string][]byte{
		"noise":    make([]byte, 512),
		"JSON":     append([]byte(`{"cmd":`), make([]byte, 505)...),
		"stranger": stranger,
		"forged":   bytes.Clone(stranger), // in the name of the host's operator
	} {
		b.Run(name, func(b *testing.B) {
			c := spawn(b, "closed")
			if name == "forged" {
				id := c.op.ID()
				copy(raw[offRequestOperator:], id[:])
			}
			conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.addr))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			before, start, sent := c.cpu(b), time.Now(), 0
			tick := time.NewTicker(every)
			defer tick.Stop()
			for range b.N {
				for range burst {
					if len(raw) >= MinRequest {
						binary.BigEndian.PutUint32(raw[offRequestSeq:], uint32(sent)+1)
					}
					if _, err := conn.Write(raw); err == nil {
						sent++
					}
				}
				<-tick.C
			}
			took := time.Since(start)
			used := c.cpu(b) - before
			b.ReportMetric(float64(used.Nanoseconds())/1000/float64(sent), "cpu-µs/datagram")
			b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
			b.ReportMetric(float64(sent)/took.Seconds(), "datagrams/s")
		})
	}
}

// BenchmarkAnswer asks a host that has nothing else to do, in sweeps of their own, and measures the processor time of its process for each.
func BenchmarkAnswer(b *testing.B) {
	c := spawn(b, "closed")
	ask := c.asker(b)
	before, woken := c.cpu(b), c.wakeups(b)
	ask(b.N)
	b.ReportMetric(float64((c.cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/answer")
	b.ReportMetric(float64(c.wakeups(b)-woken)/float64(b.N), "wakeups/answer")
}

// asker returns what has the child asked by its operator so many times, in a new sweep each, and waits for the answers.
func (c *child) asker(t testing.TB) func(times int) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	sweep := uint64(0)
	return func(times int) {
		tick := time.NewTicker(25 * time.Millisecond) // a host checks 50 signatures a second
		defer tick.Stop()
		for range times {
			<-tick.C
			sweep++
			q := question4(sweep, 1)
			q.Time = time.Now()
			send(t, conn, mustSign(t, q, c.op))
			if receive(t, conn, patience) == nil {
				t.Fatalf("no answer to sweep %d", sweep)
			}
		}
	}
}

// TestAnswerWakesOneThread: a host that is asked now and then has no thread woken but the one that answers. A system call that is not a raw one
// has Go's runtime wake another, which looks around every 20 µs (sysmon of its proc.go).
func TestAnswerWakesOneThread(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	t.Parallel()
	c := spawn(t, "closed")
	ask := c.asker(t)
	var got []float64
	const asks, most = 20, 6 // it is 2 to 4, and was 10 to 18
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before := c.wakeups(t)
		ask(asks)
		got = append(got, float64(c.wakeups(t)-before)/asks)
		if len(got) > 1 && got[len(got)-1] <= most { // its start is in the first
			return
		}
	}
	t.Errorf("threads of a host were woken %v times for each answer, want %d at most", got, most)
}

// TestIdleHostSleeps: a host that nobody asks is not woken, not once in seconds.
func TestIdleHostSleeps(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds, in which nothing happens")
	}
	t.Parallel()
	c := spawn(t, "closed")
	var got []int64
	for range 5 { // what has to do with its start may still go on in the first
		before := c.wakeups(t)
		<-time.After(1500 * time.Millisecond) // in which nothing must happen; that has no event
		n := c.wakeups(t) - before
		if n == 0 {
			return
		}
		got = append(got, n)
	}
	t.Errorf("threads of an idle host were woken %d times in spans of 1.5 s, want a span without", got)
}

// TestFloodedHostIsSeldomWoken: datagrams that come one by one, tens of thousands a second, do not wake a host each.
func TestFloodedHostIsSeldomWoken(t *testing.T) {
	if testing.Short() {
		t.Skip("loads a core")
	}
	t.Parallel()
	c := spawn(t, "closed")
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const perSecond, span = 50_000, 500 * time.Millisecond
	id := c.op.ID()
	forged := edit(mustSign(t, question4(5, 1), newKey(t, "forger")), offRequestOperator, id[:]...)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); { // a loaded machine may not get to send them one by one at first
		before, start, sent := c.wakeups(t), time.Now(), 0
		for took := time.Duration(0); took < span; took = time.Since(start) {
			for ; sent < int(took.Seconds()*perSecond); sent++ {
				binary.BigEndian.PutUint32(forged[offRequestSeq:], uint32(sent)+1)
				if _, err := conn.Write(forged); err != nil {
					t.Fatal(err)
				}
			}
		}
		woken := int(c.wakeups(t) - before)
		if sent >= perSecond/4 && woken < sent/10 {
			return
		}
		got = append(got, fmt.Sprintf("%d for %d datagrams", woken, sent))
	}
	t.Errorf("threads of a flooded host were woken %v, want a span with fewer than a tenth", got)
}

// A host is found again once its link is up again, however it was flooded before and meanwhile, and stops after its link is gone for good.
func TestFloodOverALinkThatGoes(t *testing.T) { t.Parallel(); inNamespace(t, floodedLink) }

func floodedLink(t *testing.T) {
	home := homeLAN(t)
	const port = 37030
	b := lanHost(t, home, 1, port)
	b.addr = netip.AddrPortFrom(netip.MustParseAddr("10.77.0.11"), port)
	ctx, dry := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer dry()
	wg.Go(func() { pour(ctx, b) })
	sweep := func() int {
		got, _ := gather(t, SweepConfig{Sealed: true, Port: port, Wait: 5 * time.Second})
		return len(got)
	}
	for i := range 3 {
		b.awaitAny(uint64(5000*(i+1)), malformed, sieved)
		ip(t, "link set port1 down")
		ip(t, "link set port1 up")
		for deadline := time.Now().Add(patience); sweep() != 1; { // the bridge may take its time
			if time.Now().After(deadline) {
				t.Fatalf("the host is not found again; outcomes: %v", nonzero(b.r.Stats()))
			}
		}
	}
	ip(t, "link del port1")
}
