package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/lab/uml"
)

// cpuTime is the CPU time that a program of the Pi has used: utime and stime of proc(5), in ticks of 10 ms. Their sum is what the
// scheduler's clock counted, so it is exact, though not finer.
func cpuTime(b *testing.B, h *PiHost, p *uml.Program) time.Duration {
	b.Helper()
	text := string(h.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid())))
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:]) // from the third on
	if len(fields) < 13 {
		b.Fatalf("stat of %s: %q", p.Name, text)
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatalf("stat of %s: %q", p.Name, text)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkPiCount counts 1,000 edges a second on eight inputs for a minute, and wants each count exact: without telling of the edges,
// and with a message for each.
func BenchmarkPiCount(b *testing.B) {
	for _, tell := range []bool{false, true} {
		b.Run(fmt.Sprintf("on_change=%t", tell), func(b *testing.B) {
			var inputs strings.Builder
			inputs.WriteString("    inputs:\n")
			for i := range counters {
				fmt.Fprintf(&inputs, "      in%d: {pin: GPIO%d, count: true, on_change: %t}\n", i, i, tell)
			}
			h := benchPi(b, inputs.String())
			for range b.N {
				count(b, h, *piRate)
			}
		})
	}
}

// count makes the edges and reports what they cost.
func count(b *testing.B, h *PiHost, rate int) {
	b.Helper()
	before := counts(b, h)
	agentd, udpmon := cpuTime(b, h, h.Agentd), cpuTime(b, h, h.Udpmon)
	out := help(b, h, "count", time.Minute, rate)
	agentd, udpmon = cpuTime(b, h, h.Agentd)-agentd, cpuTime(b, h, h.Udpmon)-udpmon
	var made, took int
	var want [counters]int
	line := out[max(0, strings.Index(out, "made ")):]
	if _, err := fmt.Sscanf(line, "made %d in %d %d %d %d %d %d %d %d %d", &made, &took, &want[0], &want[1], &want[2], &want[3], &want[4], &want[5], &want[6], &want[7]); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	got := counts(b, h)
	for i := range got {
		if got[i] -= before[i]; got[i] != want[i] {
			b.Errorf("in%d counted %d rising edges, want %d", i, got[i], want[i])
		}
	}
	seconds := time.Duration(took).Seconds()
	b.ReportMetric(float64(made)/seconds, "edges/s")
	b.ReportMetric(100*agentd.Seconds()/seconds, "%cpu-agentd")
	b.ReportMetric(100*udpmon.Seconds()/seconds, "%cpu-udpmon")
	b.ReportMetric(0, "ns/op")
}

// counts reads the counts of all inputs.
func counts(b *testing.B, h *PiHost) (n [counters]int) {
	b.Helper()
	for i := range n {
		point := fmt.Sprintf("pi/gpio/count/in%d", i)
		out, errs, status := h.Run(patience, "udpsrv", "get", point, "--broker", piBroker)
		if status != 0 {
			b.Fatalf("get %s: %s", point, errs)
		}
		if _, err := fmt.Sscan(out, &n[i]); err != nil {
			b.Fatalf("get %s: %q", point, out)
		}
	}
	return n
}
