package agents

import (
	"strings"
	"testing"

	"rollcall/reports"
)

// What is sent to the wrong topic, or is of no known kind, is refused with what to do instead.
func TestGPIOHints(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835")
	const kinds = "control:1: a text stands where a map is wanted: a control has keys (verb: toggle), is a part of a set-up (outputs: …), or text blocks, of which the first line is output, pwm or input"
	for _, tt := range []struct{ verb, doc, code, want string }{
		{"setup", "output\n  name pump\n  pin 25\n", reports.CodeBadSetup, "setup: text blocks add to the set-up: send them to control"},
		{"setup", "pwm\nname a", reports.CodeBadSetup, "setup: text blocks add to the set-up: send them to control"},
		{"control", `{"Pump":{"Pin":25,"Dir":"Output"}}`, reports.CodeBadPayload, "control: a map of pins is a whole set-up: send it to setup"},
		{"control", "relay\n  name pump\n  pin 25\n", reports.CodeBadPayload, kinds},
		{"control", "name pump\npin 25", reports.CodeBadPayload, kinds},
		{"control", "[a]", reports.CodeBadPayload, "control:1: a list stands where a map is wanted: a control has keys"},
		{"control", "", reports.CodeUnsupported, `verb "" is not known`},
	} {
		var err error
		if tt.verb == "setup" {
			err = a.Setup(t.Context(), []byte(tt.doc))
		} else {
			_, err = a.Apply(t.Context(), reports.Command{Verb: tt.verb, Value: []byte(tt.doc)})
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || reports.CodeOf(err) != tt.code {
			t.Errorf("%s %q: %v (%s), want %s (%s)", tt.verb, tt.doc, err, reports.CodeOf(err), tt.want, tt.code)
		}
	}
	if b.held() != "" {
		t.Errorf("held are %s", b.held())
	}
}
