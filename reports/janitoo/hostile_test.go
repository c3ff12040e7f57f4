package janitoo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rollcall/reports"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// FuzzHeard holds that whatever a stranger publishes, all that is said is by Janitoo's rules, or a command to one of the services, and goes
// to no topic that a stranger has no business on.
func FuzzHeard(f *testing.F) {
	for _, name := range janitootest.Captures("wire/*.txt") {
		for _, m := range janitootest.Wire(name) {
			if strings.HasSuffix(m.Topic, "/request") {
				f.Add(m.Topic, string(m.Payload))
			}
		}
	}
	for _, h := range []wire.Hadd{"0225/0004", "0225/0000"} {
		topic, payload := request(h, wire.Config, "name", wire.CmdConfiguration, "\x00<&\u2028")
		f.Add(topic, payload)
		topic, payload = request(h, wire.Basic, "switch", wire.CmdSwitchBinary, map[string]any{"a": []any{1}})
		f.Add(topic, payload)
	}
	f.Add("rollcall/pi1/janitoo/0225", `{"id":"1","ok":true,"data":{"value":[1]}}`)
	f.Fuzz(func(t *testing.T, topic, payload string) {
		w := worlds()["0225"]
		b, c := w.start(t, nil)
		out, again := b.Heard(w.host, reports.Message{Topic: topic, Payload: payload})
		if again {
			t.Error("all is to be said again")
		}
		for _, m := range out {
			if reports.ValidTopic(m.Topic) != nil {
				t.Errorf("says something on %q", m.Topic)
			}
		}
		check(t, out...)
		c.at = c.at.Add(10 * patience)
		check(t, b.Due(w.host, c.at)...)
		if again, _ := w.start(t, b.Memory()); again == nil {
			t.Errorf("does not recall %s", b.Memory())
		}
	})
}

// TestBounds: a stranger can't have more kept, or waited for, than there is room for.
func TestBounds(t *testing.T) {
	t.Parallel()
	w := worlds()["0225"]
	b, c := w.start(t, nil)
	topic, payload := request("0225/0004", wire.Basic, "switch", wire.CmdSwitchBinary, "on")
	for range maxPending {
		w.ask(t, b, topic, payload)
	}
	if got := one(t, w.ask(t, b, topic, payload)); wire.Text(got.Help) != fmt.Sprintf("error: %d sets are waiting", maxPending) {
		t.Errorf("one more is answered with %+v", got)
	}
	c.at = c.at.Add(patience)
	late := slices.DeleteFunc(b.Due(w.host, c.at), func(m reports.Message) bool { return !strings.Contains(m.Payload, "did not answer") })
	if len(late) != 2*maxPending || len(b.pending) != 0 {
		t.Errorf("%d answers to late sets, %d still wait", len(late), len(b.pending))
	}
	for i := range maxKept {
		if err := b.remember("x", fmt.Sprint(i), "", 1); err != nil {
			t.Fatal(err)
		}
	}
	topic, payload = request("0225/0004", wire.Config, "name", wire.CmdConfiguration, "one more")
	if got := one(t, w.ask(t, b, topic, payload)); !strings.Contains(wire.Text(got.Help), "values are set already") {
		t.Errorf("one more name is answered with %+v", got)
	}
}

// BenchmarkDue is what a heartbeat of a host with everything costs.
func BenchmarkDue(b *testing.B) {
	w := worlds()["0121"]
	br, c := w.start(b, nil)
	br.Stands(w.host, nil)
	for b.Loop() {
		c.at = br.Next()
		br.Due(w.host, c.at)
	}
}
