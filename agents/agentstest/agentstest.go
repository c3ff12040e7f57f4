// Package agentstest is the conformance suite of agents: every factory passes it, whatever its hardware. What it checks is what
// the runner relies on. It knows no agent.
package agentstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/reports"
)

// Units are the units that a point may have: as Home Assistant and Homie both spell them.
var Units = [...]string{"°C", "%", "V", "mV", "A", "mA", "W", "kW", "Wh", "kWh", "Hz", "kHz", "MHz", "rpm", "Pa", "hPa", "kPa", "m", "cm", "mm",
	"km/h", "m/s", "°", "µs", "ms", "s", "min", "h", "d", "lx", "ppm", "dBm", "dB", "Ω", "B", "kB", "MB", "GB", "B/s", "kB/s", "MB/s", "Mbit/s"}

// Classes are the device classes that a point may have, in the words of Home Assistant.
var Classes = [...]string{"apparent_power", "battery", "connectivity", "current", "data_rate", "data_size", "distance", "door", "duration",
	"energy", "frequency", "heat", "humidity", "illuminance", "light", "moisture", "motion", "occupancy", "opening", "outlet", "power",
	"power_factor", "presence", "pressure", "problem", "reactive_power", "running", "safety", "signal_strength", "smoke", "sound", "speed",
	"switch", "tamper", "temperature", "timestamp", "update", "vibration", "voltage", "window"}

// patience is how long a method may take that has all the time in the world, and prompt how long one whose context has ended.
const (
	patience = 3 * time.Second
	prompt   = time.Second
)

// suite is a run of the checks.
type suite struct {
	factory agents.Factory
	deps    agents.Deps
	options string
}

// Run checks the factory, and the agent that it makes of the options with the dependencies. Where d leaves them out, StateDir is
// a temporary folder, Service the factory's name, and nothing is logged. The agent's points are sampled, and each one that can
// be both read and set is set to the value that it has. Nothing may run beside it, since it counts goroutines: the test must
// not be parallel.
func Run(t *testing.T, f agents.Factory, d agents.Deps, optionsYAML string) {
	t.Helper()
	if d.StateDir == "" {
		d.StateDir = t.TempDir()
	}
	if d.Service == "" {
		d.Service = f.Name
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := suite{f, d, optionsYAML}
	if f.New == nil || f.Defaults == nil {
		t.Fatal("New and Defaults are needed")
	}
	before := goleak.IgnoreCurrent()
	for _, c := range []struct {
		name  string
		check func(*testing.T)
	}{
		{"factory", s.checkFactory}, {"options", s.checkOptions}, {"describe", s.checkDescribe}, {"points", s.checkPoints},
		{"sample", s.checkSample}, {"sample all", s.checkSampleAll}, {"apply", s.checkApply}, {"setup", s.checkSetup}, {"close", s.checkClose},
	} {
		t.Run(c.name, c.check)
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines are left after Close: %v", err)
	}
}

// start makes the agent, which is closed at the end of the test.
func (s suite) start(t *testing.T) agents.Agent {
	t.Helper()
	o := s.factory.Defaults()
	if err := decode(s.options, o); err != nil {
		t.Fatalf("options are refused: %v", err)
	}
	a, err := s.factory.New(o, s.deps)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return a
}

func decode(doc string, o agents.Options) error {
	n, err := config.ParseNode("options.yaml", []byte(doc))
	if err != nil {
		return err
	}
	return n.Decode(o)
}

func (s suite) checkFactory(t *testing.T) {
	f := s.factory
	if err := reports.ValidName(f.Name); err != nil {
		t.Errorf("Name: %v", err)
	}
	if strings.TrimSpace(f.Doc) == "" || strings.Contains(f.Doc, "\n") {
		t.Errorf("Doc = %q, want one sentence in one line", f.Doc)
	}
	a, b := f.Defaults(), f.Defaults()
	if v := reflect.ValueOf(a); v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		t.Fatalf("Defaults returns a %T, want a pointer to a struct", a)
	}
	if v := reflect.ValueOf(a); v.Elem().Type().Size() > 0 && v.Pointer() == reflect.ValueOf(b).Pointer() {
		t.Error("Defaults returns the same struct twice")
	}
	for _, k := range config.Keys("", a) {
		if k.Doc == "" {
			t.Errorf("option %s has no doc tag", k.Path)
		}
	}
}

func (s suite) checkOptions(t *testing.T) {
	if err := decode(s.factory.Example, s.factory.Defaults()); err != nil {
		t.Errorf("Example is refused: %v", err)
	}
	err := decode("\nno_such_option: 1\n", s.factory.Defaults())
	if e, ok := errors.AsType[*config.Error](err); !ok || e.Line != 2 || !strings.Contains(e.Text, "no_such_option") {
		t.Errorf("an unknown option gives %v, want it refused by its name with its line", err)
	}
}

// checkDescribe checks that Describe is pure, stable, safe beside everything else, and describes a valid service.
func (s suite) checkDescribe(t *testing.T) {
	a := s.start(t)
	first := a.Describe()
	first.Points = slices.Clone(first.Points)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if diff := cmp.Diff(first, a.Describe()); diff != "" {
				t.Errorf("Describe changes by itself:\n%s", diff)
			}
		})
	}
	if sampler, ok := a.(agents.Sampler); ok {
		for _, p := range readable(first) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, _ = sampler.Sample(ctx, p.Path) // checked elsewhere; here it only runs beside Describe
			cancel()
		}
	}
	wg.Wait()
	mine := a.Describe()
	for i := range mine.Points {
		mine.Points[i] = reports.Point{}
	}
	if diff := cmp.Diff(first, a.Describe()); diff != "" {
		t.Errorf("Describe gives its own points away: a caller changed them:\n%s", diff)
	}
	if err := s.named(first).Validate(); err != nil {
		t.Errorf("Describe: %v", err)
	}
}

// named fills in what the runner does.
func (s suite) named(d reports.Service) reports.Service {
	d.Name = s.deps.Service
	if d.Function == "" {
		d.Function = s.factory.Name
	}
	return d.On("host")
}

// checkPoints checks units and classes, and that the agent can do what its points promise.
func (s suite) checkPoints(t *testing.T) {
	a := s.start(t)
	_, sampler := a.(agents.Sampler)
	_, actuator := a.(agents.Actuator)
	_, notifier := a.(agents.Notifier)
	for _, p := range a.Describe().Points {
		if p.Unit != "" && !slices.Contains(Units[:], p.Unit) {
			t.Errorf("%s: unit %q is none of %q", p.Path, p.Unit, Units)
		}
		if p.Unit != "" && p.Type != reports.Int && p.Type != reports.Float {
			t.Errorf("%s: a %s has no unit, but this has %q", p.Path, p.Type, p.Unit)
		}
		if p.Class != "" && !slices.Contains(Classes[:], p.Class) {
			t.Errorf("%s: class %q is none of %q", p.Path, p.Class, Classes)
		}
		switch {
		case p.Access.Has(reports.Get) && !sampler && !notifier:
			t.Errorf("%s can be read, but the agent is neither Sampler nor Notifier", p.Path)
		case p.Access.Has(reports.Set) && !actuator:
			t.Errorf("%s can be set, but the agent is no Actuator", p.Path)
		case p.Access.Has(reports.Event) && !notifier:
			t.Errorf("%s is an event, but the agent is no Notifier", p.Path)
		case p.Poll > 0 && (!sampler || !p.Access.Has(reports.Get)):
			t.Errorf("%s is polled, but can't be sampled", p.Path)
		}
	}
}

func readable(d reports.Service) []reports.Point {
	return slices.DeleteFunc(slices.Clone(d.Points), func(p reports.Point) bool { return !p.Access.Has(reports.Get) })
}

// checkSample samples every point that can be read, one that is not there, and with a context that has ended.
func (s suite) checkSample(t *testing.T) {
	a := s.start(t)
	sampler, ok := a.(agents.Sampler)
	if !ok {
		t.Skip("the agent is no Sampler")
	}
	for _, p := range readable(a.Describe()) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := sampler.Sample(ctx, p.Path)
		cancel()
		if err == nil {
			err = checkReading(p, r)
		}
		if err != nil {
			t.Errorf("Sample(%s): %v", p.Path, err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		start := time.Now()
		_, _ = sampler.Sample(ended, p.Path) // it may have a value all the same
		if took := time.Since(start); took > prompt {
			t.Errorf("Sample(%s) took %v with a context that had ended", p.Path, took)
		}
	}
	if r, err := sampler.Sample(t.Context(), "no/such/point"); err == nil {
		t.Errorf("Sample of a point that is not there = %+v, want an error", r)
	}
}

// checkReading returns what is wrong with a reading of the point.
func checkReading(p reports.Point, r reports.Reading) error {
	if r.Path != "" && r.Path != p.Path {
		return fmt.Errorf("the reading is of %q", r.Path)
	}
	if r.Unit != "" && r.Unit != p.Unit {
		return fmt.Errorf("the reading is in %q, the point in %q", r.Unit, p.Unit)
	}
	if r.Stale && r.Value == nil {
		return nil // it has none yet, and says so
	}
	ok := false
	switch v := r.Value.(type) {
	case bool:
		ok = p.Type == reports.Bool
	case int, int64, int32, uint, uint64, uint32:
		ok = p.Type == reports.Int || p.Type == reports.Float
	case float64:
		ok = p.Type == reports.Float && !math.IsNaN(v) && !math.IsInf(v, 0)
	case string:
		ok = p.Type == reports.String || p.Type == reports.JSON || (p.Type == reports.Enum && slices.Contains(p.Options, v))
	default:
		ok = p.Type == reports.JSON && v != nil
	}
	if !ok {
		return fmt.Errorf("%v (%T) is no value of type %s", r.Value, r.Value, p.Type)
	}
	return nil
}

// checkSampleAll reads all points at once.
func (s suite) checkSampleAll(t *testing.T) {
	a := s.start(t)
	batch, ok := a.(agents.BatchSampler)
	if !ok {
		t.Skip("the agent is no BatchSampler")
	}
	var paths []string
	for _, p := range readable(a.Describe()) {
		paths = append(paths, p.Path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	readings, err := batch.SampleAll(ctx, paths)
	if err != nil {
		t.Errorf("SampleAll: %v", err)
	}
	seen := map[string]bool{}
	for _, r := range readings {
		p, ok := a.Describe().Point(r.Path)
		if !ok || seen[r.Path] {
			t.Errorf("SampleAll gives %q, which it was not asked for, or twice", r.Path)
			continue
		}
		seen[r.Path] = true
		if err := checkReading(p, r); err != nil {
			t.Errorf("SampleAll: %s: %v", r.Path, err)
		}
	}
	for _, p := range paths {
		if err == nil && !seen[p] {
			t.Errorf("SampleAll leaves %s out and gives no error", p)
		}
	}
	if r, err := batch.SampleAll(ctx, []string{"no/such/point"}); err == nil || len(r) != 0 || !strings.Contains(err.Error(), "no/such/point") {
		t.Errorf("SampleAll of a point that is not there = %v, %v, want an error that names it", r, err)
	}
	if r, err := batch.SampleAll(ctx, nil); err != nil || len(r) != 0 {
		t.Errorf("SampleAll of nothing = %v, %v", r, err)
	}
}
