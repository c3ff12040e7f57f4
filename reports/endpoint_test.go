package reports_test

import (
	"slices"
	"testing"

	"rollcall/reports"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"tcp://10.0.0.1:1883": "10.0.0.1:1883", "mqtt://pi": "pi:1883", "mqtts://user:secret@pi.lan": "pi.lan:8883", "tls://[fe80::1]:99": "[fe80::1]:99",
		"mqtt://[fe80::1%25eth0]": "", "http://pi": "", "mqtt://": "", "mqtt://a;b": "", "mqtt://-h": "", "mqtt://x:0": "", "mqtt://x:70000": "", "mqtt://a..b": "", "mqtt://$(x)": "", "::": "",
	} {
		got := ""
		for _, e := range (reports.Host{Brokers: []string{in, in}}).Endpoints() {
			got += e.String()
		}
		if got != want {
			t.Errorf("Endpoints of %q = %q, want %q", in, got, want)
		}
	}
	got := reports.Host{Brokers: []string{"mqtts://a", "mqtt://b", "tls://c", "tcp://d"}}.Endpoints()
	want := []reports.Endpoint{{Host: "b", Port: 1883}, {Host: "d", Port: 1883}, {Host: "a", Port: 8883, TLS: true}, {Host: "c", Port: 8883, TLS: true}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
