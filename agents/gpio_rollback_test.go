package agents

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

// gpioFaults is a chip whose k-th request or reconfiguration fails, counted from 1; 0: none does.
type gpioFaults struct {
	gpio.Chip
	mu       sync.Mutex
	k        int
	requests int
	after    func(offset int) // called after each request that succeeds
	old      bool             // it can't change a line in place
}

func (f *gpioFaults) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	if err := f.fails(offset); err != nil {
		return nil, err
	}
	line, err := f.Chip.Request(offset, o)
	if err != nil {
		return nil, err
	}
	if f.after != nil {
		f.after(offset)
	}
	return &gpioFaultyLine{line, f, offset}, nil
}

func (f *gpioFaults) fails(offset int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if f.requests == f.k {
		return &gpio.RequestError{Chip: "faulty", Line: gpio.LineInfo{Offset: offset}, Err: syscall.EIO}
	}
	return nil
}

// gpioFaultyLine is a line of such a chip.
type gpioFaultyLine struct {
	gpio.Line
	faults *gpioFaults
	offset int
}

func (l *gpioFaultyLine) Reconfigure(o gpio.LineOptions) error {
	if l.faults.old {
		return &gpio.RequestError{Op: "reconfigure", Chip: "faulty", Line: gpio.LineInfo{Offset: l.offset}, Missing: gpio.FeatureReconfigure, Err: syscall.EOPNOTSUPP}
	}
	if err := l.faults.fails(l.offset); err != nil {
		return err
	}
	return l.Line.Reconfigure(o)
}

// arm lets the k-th request from now on fail.
func (f *gpioFaults) arm(k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.k, f.requests = k, 0
}

const gpioBefore = `
chip: pinctrl-bcm2835
outputs:
  stays:    {pin: 2, initial: on}
  turned:   {pin: 3, initial: on}
  becomes:  {pin: 4, initial: on}
  goes:     {pin: 7, initial: on}
inputs:
  held:     {pin: 5, pull: up}
  gone:     {pin: 6, pull: up}
`

const gpioAfter = `
outputs:
  stays:    {pin: GPIO2, initial: off}
  turned:   {pin: 3, initial: keep, active_low: true}
  held:     {pin: 5, initial: keep}
  fresh:    {pin: 8, initial: on}
  kept:     {pin: 9, initial: keep}
inputs:
  becomes:  {pin: 4}
  new:      {pin: 10}
`

func TestGPIOSetupApplies(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.chip().Drive(9, 1)
	a := b.open(gpioBefore)
	before := map[int][]gpiotest.Change{2: b.chip().History(2), 5: b.chip().History(5)}
	if err := a.Setup(t.Context(), []byte(gpioAfter)); err != nil {
		t.Fatal(err)
	}
	if got, want := b.held(), ">2 >3 4 >5 >8 >9 10"; got != want {
		t.Errorf("held %s, want %s", got, want)
	}
	for path, want := range map[string]string{"output/stays": "ON", "output/turned": "OFF", "output/held": "ON", "output/fresh": "ON",
		"output/kept": "ON", "input/becomes": "OFF", "input/new": "OFF", "output/goes": `error: "output/goes" is no output and no input`} {
		if got := gpioLevel(t, a, path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	for line, want := range before { // neither was touched, and a kept level has no glitch
		if diff := cmp.Diff(want, b.chip().History(line)); diff != "" {
			t.Errorf("levels of line %d (-before +after):\n%s", line, diff)
		}
	}
	if b.chip().Level(3) != 1 {
		t.Error("keep did not keep the level where active_low changed")
	}
	for _, back := range []string{"active_low: true, pull: up", "active_low: false"} { // to and fro
		if err := a.Setup(t.Context(), []byte("outputs: {turned: {pin: 3, initial: keep, "+back+"}}")); err != nil || b.chip().Level(3) != 1 {
			t.Errorf("keep with %s: %v, level %d, want the 1 that was there", back, err, b.chip().Level(3))
		}
	}
}

// To keep an open-drain output is to keep what it was told, not what others have made of it.
func TestGPIOKeepOpenDrain(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 4, initial: on, drive: open-drain}}")
	b.chip().Drive(4, 0)
	if err := a.Setup(t.Context(), []byte("outputs: {x: {pin: 4, initial: keep, drive: open-drain, pull: up}}")); err != nil {
		t.Fatal(err)
	}
	b.chip().Release(4)
	if got := gpioLevel(t, a, "output/x"); got != "ON" {
		t.Errorf("output is %s, want ON", got)
	}
}

// A set-up that fails at any line, or can't be saved, leaves all as it was; and what it does not touch has not even flickered.
func TestGPIOSetupRollsBack(t *testing.T) {
	t.Parallel()
	t.Run("in place", func(t *testing.T) { t.Parallel(); testGPIOSetupRollsBack(t, false) })
	t.Run("by an old kernel", func(t *testing.T) { t.Parallel(); testGPIOSetupRollsBack(t, true) })
}

func testGPIOSetupRollsBack(t *testing.T, old bool) {
	for k := 1; ; k++ {
		b := newGPIOBench(t)
		var faults *gpioFaults
		b.fail = func(c gpio.Chip) gpio.Chip { faults = &gpioFaults{Chip: c, old: old}; return faults }
		b.chip().Drive(9, 1)
		a := b.open(gpioBefore)
		gpioSet(t, a, "output/turned", false)
		gpioSet(t, a, "output/turned", true)
		describe, setup, held := a.Describe(), gpioDoc(t, a), b.held()
		untouched := map[int]int{2: 0, 6: 0, 7: 0}
		for line := range untouched {
			untouched[line] = len(b.chip().History(line))
		}
		faults.after = func(offset int) { // an edge of an input that is not yet in force, and may never be
			if offset == 10 {
				b.chip().Drive(10, 1)
				b.chip().Wait()
			}
		}
		faults.arm(k)
		err := a.Setup(t.Context(), []byte(gpioAfter))
		if err == nil {
			if k < 8 {
				t.Errorf("set-up succeeded although request %d was to fail", k)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "\n") {
			t.Errorf("request %d: error %v, want one line with EIO", k, err)
		}
		if got := b.held(); got != held {
			t.Errorf("request %d: held %s, want %s", k, got, held)
		}
		if diff := cmp.Diff(describe, a.Describe()); diff != "" {
			t.Errorf("request %d: description (-before +after):\n%s", k, diff)
		}
		if got := gpioDoc(t, a); got != setup {
			t.Errorf("request %d: set-up\n%swant\n%s", k, got, setup)
		}
		for _, path := range []string{"output/stays", "output/turned", "output/becomes", "output/goes", "input/held", "input/gone"} {
			if got := gpioLevel(t, a, path); got != "ON" {
				t.Errorf("request %d: %s = %s, want ON", k, path, got)
			}
		}
		for line, want := range untouched {
			if got := len(b.chip().History(line)); got != want {
				t.Errorf("request %d: line %d flickered: %v", k, line, b.chip().History(line))
			}
		}
		if _, err := os.Stat(a.file(gpioSetupFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("request %d: something was saved: %v", k, err)
		}
		b.chip().Drive(6, 0) // edges still come, those of a line that was taken and given back too
		b.chip().Drive(5, 0)
		for _, want := range []string{"input/gone OFF", "input/held OFF"} {
			if got := gpioNext(t, a); got != want {
				t.Errorf("request %d: event %s, want %s", k, got, want)
			}
		}
	}
}

func gpioDoc(t *testing.T, a *gpioAgent) string {
	t.Helper()
	doc, err := a.CurrentSetup()
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestGPIOSetupNotSaved(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.dir = filepath.Join(b.dir, "state")
	a := b.open(gpioBefore)
	if err := os.WriteFile(b.dir, nil, 0o600); err != nil { // a file where the folder is to be
		t.Fatal(err)
	}
	held, setup := b.held(), gpioDoc(t, a)
	err := a.Setup(t.Context(), []byte(gpioAfter))
	if err == nil || !strings.HasPrefix(err.Error(), "save set-up: ") || reports.CodeOf(err) != reports.CodeDevice {
		t.Errorf("error %v (%s), want one about saving", err, reports.CodeOf(err))
	}
	if b.held() != held || gpioDoc(t, a) != setup || gpioLevel(t, a, "output/turned") != "ON" {
		t.Errorf("held %s, want %s; turned = %s", b.held(), held, gpioLevel(t, a, "output/turned"))
	}
	gpioEngine(t, a, func() { a.deps.StateDir = "" })
	if err := a.Setup(t.Context(), []byte("{}")); err == nil || err.Error() != "setup: there is no state_dir to save it in" || b.held() != held {
		t.Errorf("without state_dir: %v, held %s", err, b.held())
	}
}
