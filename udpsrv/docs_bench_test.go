package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/reports"
	"rollcall/reports/faces"
	"rollcall/reports/reportstest"
)

// sweptIn finds how long the sweep took in what a command says of it.
var sweptIn = regexp.MustCompile(`hosts, .* in ([0-9.a-zµ]+) \(`)

// BenchmarkDocs writes documents of 100 hosts with 8 services each, all of them with a broker of their own on this machine, and
// says how long that takes after the sweep.
func BenchmarkDocs(b *testing.B) {
	const hosts, services = 100, 8
	var to []string
	for i := range hosts {
		h := reportstest.Host(i, services)
		url := bustest.Start(b)
		messages := []string{reports.HostStatus(h.Name), "online"}
		found := discover.Host{ID: discover.ID{byte(i + 1), 1}, Hostname: h.Name, Brokers: []string{url}}
		for _, s := range h.Services {
			t := h.Topics(s)
			description, err := json.Marshal(s.On(h.Name))
			if err != nil {
				b.Fatal(err)
			}
			messages = append(messages, t.To("description"), string(description), t.To("status"), "online")
			for _, p := range s.Points {
				if v := s.Values[p.Path]; v != "" {
					messages = append(messages, t.To(p.Path), v)
				}
			}
			found.Services = append(found.Services, discover.Service{Name: s.Name, Function: s.Function, Status: reports.Online, Points: len(s.Points)})
		}
		publishRetained(b, url, messages...)
		to = append(to, boot(b, found, nil).addr)
	}
	for _, f := range faces.All() {
		b.Run(f.Name, func(b *testing.B) {
			var after time.Duration
			for b.Loop() {
				l := newLaptop(b)
				start := time.Now()
				stdout, stderr := l.want(exitOK, "docs", "--format", f.Name, "--values", "--to", strings.Join(to, ","))
				all := time.Since(start)
				m := sweptIn.FindStringSubmatch(stderr)
				if m == nil {
					b.Fatalf("stderr %q", stderr)
				}
				sweep, err := time.ParseDuration(m[1])
				if err != nil || strings.Contains(stderr, "described by the sweep alone") || !strings.Contains(stdout, "pi099") {
					b.Fatalf("%v, stderr %q", err, stderr)
				}
				after += all - sweep
			}
			b.ReportMetric(after.Seconds()/float64(b.N), "s-after-sweep")
		})
	}
}
