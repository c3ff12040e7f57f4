package reports_test

import (
	"testing"

	"rollcall/reports"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for poll, want := range map[reports.Duration]string{0: "", 10e9: "10s", 60e9: "1m", 3600e9: "1h", 5400e9: "1h30m", 3601e9: "1h0m1s", 5e8: "500ms"} {
		if got := (reports.Point{Poll: poll}).Every(); got != want {
			t.Errorf("Every of %s = %q, want %q", poll, got, want)
		}
	}
	for want, p := range map[string]reports.Point{"": {}, "a": {Label: "a"}, "b c": {Help: "b\nc"}, "a: b": {Label: "a", Help: "b"}} {
		if got := p.What(); got != want {
			t.Errorf("What of %v = %q, want %q", p, got, want)
		}
	}
	for want, p := range map[string]reports.Point{"": {Type: reports.Bool, Min: reports.Ptr(1)}, "0 to 1.5": {Type: reports.Float, Min: reports.Ptr(0), Max: reports.Ptr(1.5)},
		"from -1": {Type: reports.Int, Min: reports.Ptr(-1)}, "up to 3": {Type: reports.Int, Max: reports.Ptr(3)}, "a, b": {Type: reports.Enum, Options: []string{"a", "b"}}} {
		if got := p.Bounds(); got != want {
			t.Errorf("Bounds of %v = %q, want %q", p, got, want)
		}
	}
	if got := (reports.Get | reports.Event).String(); got != "get, event" {
		t.Errorf("String = %q", got)
	}
	facts := reports.Host{Status: "evil", IPAddr: "10.0.0.1", Model: "a\nb", Brokers: []string{"tcp://10.0.0.1:1883", "tls://10.0.0.1"}}.Facts()
	want := []reports.Fact{{Name: "Address", Value: "10.0.0.1"}, {Name: "Model", Value: "a b"}, {Name: "Broker", Value: "mqtt://10.0.0.1:1883, mqtts://10.0.0.1:8883"}}
	if len(facts) != 3 || facts[0] != want[0] || facts[1] != want[1] || facts[2] != want[2] {
		t.Errorf("facts %v, want %v", facts, want)
	}
}
