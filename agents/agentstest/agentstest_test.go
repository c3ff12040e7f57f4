package agentstest_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"rollcall/agents"
	"rollcall/agents/agentstest"
	"rollcall/reports"
)

// TestEveryAgent runs the suite on all agents, as their examples set them up. It is not parallel: see agentstest.Run.
func TestEveryAgent(t *testing.T) {
	for _, f := range agents.All() {
		t.Run(f.Name, func(t *testing.T) { agentstest.Run(t, f, agents.Deps{}, f.Example) })
	}
}

// badVariable makes a run of this test binary check the bad agents.
const badVariable = "AGENTSTEST_BAD"

type badOptions struct {
	Gain int `yaml:"gain"`
}

func (*badOptions) Validate() error { return nil }

// badAgent breaks every rule that the suite checks.
type badAgent struct {
	described int
	closed    int
	value     any
	events    chan reports.Reading
	points    []reports.Point
}

func (b *badAgent) Describe() reports.Service { return reports.Service{Points: b.points} }

func (b *badAgent) Close() error {
	if b.closed++; b.closed > 1 {
		return errors.New("closed already")
	}
	go func() { <-b.events }() // nobody ends it: that is what the suite must see
	return nil
}

func (b *badAgent) Sample(_ context.Context, path string) (reports.Reading, error) {
	return reports.Reading{Path: path, Value: b.value}, nil
}

func (b *badAgent) SampleAll(_ context.Context, paths []string) ([]reports.Reading, error) {
	return []reports.Reading{{Path: "stray", Value: 1.0}}, nil
}

func (b *badAgent) Apply(context.Context, reports.Command) (reports.Reading, error) {
	return reports.Reading{Value: 3.0}, nil
}

func (b *badAgent) Events() <-chan reports.Reading { return b.events }

func (b *badAgent) Setup(context.Context, []byte) error { b.described++; return nil }

func (b *badAgent) CurrentSetup() ([]byte, error) {
	return []byte(strings.Repeat("#", b.described)), nil
}

func badFactory() agents.Factory {
	return agents.Factory{Name: "bad", Example: "gian: 1", Defaults: func() agents.Options { return &badOptions{} },
		New: func(agents.Options, agents.Deps) (agents.Agent, error) {
			return &badAgent{value: math.NaN(), events: make(chan reports.Reading), points: []reports.Point{
				{Path: "temp", Type: reports.Float, Access: reports.Get | reports.Set, Unit: "C", Class: "heat_index"},
				{Path: "temp/low", Type: reports.Bool, Access: reports.Get, Unit: "°C"},
			}}, nil
		}}
}

// TestBadAgent is run by TestSuiteFindsWhatIsWrong in a process of its own, where it is to fail.
func TestBadAgent(t *testing.T) {
	if os.Getenv(badVariable) == "" {
		t.Skip("the other half of TestSuiteFindsWhatIsWrong")
	}
	agentstest.Run(t, badFactory(), agents.Deps{}, "{}")
}

func TestSuiteFindsWhatIsWrong(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestBadAgent$", "-test.v")
	cmd.Env = append(os.Environ(), badVariable+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil {
		t.Fatalf("the suite finds nothing wrong with the bad agent:\n%s", &out)
	}
	for _, want := range []string{
		`Doc = "", want one sentence`, `option gain has no doc tag`, `Example is refused`, `a caller changed them`,
		`point "temp/low" lies below point "temp"`, `unit "C" is none of`, `class "heat_index" is none of`, `a bool has no unit`,
		`Sample(temp): NaN (float64) is no value of type float`, `Sample of a point that is not there`, `SampleAll gives "stray"`,
		`SampleAll leaves temp out`, `SampleAll of nothing`, `set temp to NaN, which it had, reads back 3`, `Apply(set "no/such/point"`,
		`Apply(control "" "no_such_verb")`, `Setup("no_such_key: 1") is not refused`, `the set-up is another`, `Close: closed already`,
		`the channel of events is still open after Close`, `goroutines are left after Close`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the suite does not say %q", want)
		}
	}
	if t.Failed() {
		t.Logf("it says:\n%s", &out)
	}
}
