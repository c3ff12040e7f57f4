package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/lab/uml"
)

// benchPi boots a virtual Pi with udpmon, its broker and agentd with one gpio service.
func benchPi(b *testing.B, gpio string) *PiHost {
	b.Helper()
	Need(b)
	l := NewLAN(b, 0)
	h := &PiHost{Name: "pi", Pi: l.Pi(1, uml.PiOptions{Name: "pi", Shown: []string{filepath.Dir(os.Args[0])}})}
	h.WriteFile(piConfig, []byte(HostConfig{Name: "pi", Agents: "  gpio:\n    chip: pinctrl-bcm2835\n" + gpio}.yaml(piState)))
	h.StartHost()
	<-time.After(2 * time.Second) // what start-up left to do
	return h
}

// help runs the helper on the Pi.
func help(b *testing.B, h *PiHost, role string, d time.Duration, rate int) string {
	b.Helper()
	out, errs, status := h.Run(d+3*time.Minute, os.Args[0], "-test.run", "^TestPiHelper$", "-pi-role", role, "-pi-for", d.String(), "-pi-rate", strconv.Itoa(rate))
	if status != 0 {
		b.Fatalf("%s: status %d\n%s%s", role, status, out, errs)
	}
	return out
}

// BenchmarkPiLatency measures, on a kernel's lines, set → line driven, set → state received and edge → message received, against a bare
// publish → receive on the same broker, in turns. As in what is measured, the publisher of the floor and its receiver are processes
// of their own. What an edge makes is a retained state, so "retained" is its floor as well: the same publish → receive with a retained
// message. "woken" is that with what woke the publisher, a datagram, as an edge has to wake agentd. "alone" is what it takes from a
// client to itself.
func BenchmarkPiLatency(b *testing.B) {
	h := benchPi(b, "    outputs: {led: {pin: GPIO17}}\n    inputs: {door: {pin: GPIO22}}\n")
	publisher := h.Start(false, os.Args[0], "-test.run", "^TestPiHelper$", "-pi-role", "publish")
	publisher.WaitLine("publishing", patience)
	for range b.N {
		out := help(b, h, "latency", time.Minute, 0)
		floor, floor99, retained, woken := 0.0, 0.0, 0.0, 0.0
		for line := range strings.Lines(out) {
			var name string
			var median, p99 float64
			if _, err := fmt.Sscanf(line, "%s %f %f", &name, &median, &p99); err != nil {
				continue // what go test says
			}
			switch name {
			case "floor":
				floor, floor99 = median, p99
			case "retained":
				retained = median
			case "woken":
				woken = median
			case "edge":
				b.ReportMetric(median/retained, "edge/retained")
				b.ReportMetric(median/woken, "edge/woken")
			}
			if name != "floor" {
				b.ReportMetric(median/floor, name+"/floor")
				b.ReportMetric(p99/floor99, name+"/floor-p99")
			}
			b.ReportMetric(median/1000, "µs-"+name)
			b.ReportMetric(p99/1000, "µs-"+name+"-p99")
		}
		if floor == 0 {
			b.Fatalf("the helper said %q", out)
		}
		b.ReportMetric(0, "ns/op")
	}
}
