package gpiotest_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/chiptest"
	"rollcall/gpio/gpiotest"
)

// TestUnplug takes a chip away from two programs at once.
func TestUnplug(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	other := c.Open()
	var got []string
	note := func(what string) func() { return func() { got = append(got, what) } }
	edge := func(gpio.Event) { got = append(got, "edge") }
	out := chiptest.Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	in := chiptest.Request(t, c, 1, gpio.LineOptions{Bias: gpio.PullUp, Events: edge, Gone: note("gone 1")})
	asIs := chiptest.Request(t, other, 2, gpio.LineOptions{AsIs: true})
	chiptest.Request(t, other, 3, gpio.LineOptions{Events: edge, Gone: note("gone 3")})
	chiptest.Request(t, other, 4, gpio.LineOptions{Events: edge})
	c.Unplug()
	c.Unplug()
	c.Drive(3, 1) // nobody sees it any more
	c.Wait()
	if want := []string{"gone 1", "gone 3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
	if got := []int{c.Level(0), c.Level(1)}; !reflect.DeepEqual(got, []int{0, 0}) {
		t.Errorf("levels of an output and a pulled-up input of a chip that is gone = %v, want 0, 0", got)
	}
	for i, l := range []gpio.Line{out, in, asIs} {
		_, err := l.Value()
		for what, err := range map[string]error{"Value": err, "SetValue": l.SetValue(1), "Reconfigure": l.Reconfigure(gpio.LineOptions{})} {
			if !errors.Is(err, gpio.ErrGone) || !errors.Is(err, syscall.ENODEV) {
				t.Errorf("line %d: %s: error %v, want ErrGone and ENODEV", i, what, err)
			}
		}
	}
	for _, chip := range []gpio.Chip{c, other} {
		if _, err := chip.Info(); !errors.Is(err, gpio.ErrGone) {
			t.Errorf("Info: error %v, want ErrGone", err)
		}
		if _, err := chip.Request(5, gpio.LineOptions{}); !errors.Is(err, gpio.ErrGone) {
			t.Errorf("Request: error %v, want ErrGone", err)
		}
		if err := chip.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := out.Value(); !errors.Is(err, gpio.ErrClosed) || errors.Is(err, gpio.ErrGone) {
		t.Errorf("Value of a closed line of a chip that is gone: error %v, want ErrClosed", err)
	}
}

// TestGlitch has the one thing that Reconfigure is for: between two requests the line falls, within one it never does.
func TestGlitch(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	o := gpio.LineOptions{Output: true, Value: 1}
	l, err := c.Request(0, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, drive := range []gpio.Drive{gpio.OpenSource, gpio.PushPull} {
		if err := l.Reconfigure(gpio.LineOptions{Output: true, Value: 1, Drive: drive}); err != nil {
			t.Fatal(err)
		}
	}
	if got := levels(c.History(0)); !reflect.DeepEqual(got, []int{1}) {
		t.Errorf("levels while reconfigured = %v, want 1 alone", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	chiptest.Request(t, c, 0, o)
	if got := levels(c.History(0)); !reflect.DeepEqual(got, []int{1, 0, 1}) {
		t.Errorf("levels with another request = %v, want the fall between them", got)
	}
	if got := c.Changes(0); got != 3 {
		t.Errorf("Changes = %d, want 3", got)
	}
}

// TestReconfigureDrops has edges that wait while the line is changed: they belong to what it was.
func TestReconfigureDrops(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var before, after []uint32
	l := chiptest.Request(t, c, 0, gpio.LineOptions{Events: func(e gpio.Event) {
		if e.Seq == 1 {
			close(entered)
			<-release
		}
		mu.Lock()
		defer mu.Unlock()
		before = append(before, e.Seq)
	}})
	for level := range 3 {
		c.Drive(0, (level+1)%2)
	}
	<-entered
	done := make(chan error)
	go func() { // ends when the Events function returns
		done <- l.Reconfigure(gpio.LineOptions{Events: func(e gpio.Event) { after = append(after, e.Seq) }})
	}()
	select {
	case err := <-done:
		t.Errorf("Reconfigure returned (%v) while the Events function of before was running", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.Drive(0, 0)
	c.Wait()
	if !reflect.DeepEqual(before, []uint32{1}) || !reflect.DeepEqual(after, []uint32{1}) {
		t.Errorf("edges before %v and after %v, want one each, both counted from 1", before, after)
	}
}

// TestLack has a chip without what simple chips and old kernels have not.
func TestLack(t *testing.T) {
	t.Parallel()
	events := func(gpio.Event) {}
	for _, test := range []struct {
		lacks gpio.Feature
		o     gpio.LineOptions
	}{
		{gpio.FeatureDebounce, gpio.LineOptions{Debounce: time.Second}},
		{gpio.FeatureEdges, gpio.LineOptions{Events: events}},
		{gpio.FeatureBias, gpio.LineOptions{Bias: gpio.PullUp}},
	} {
		c := gpiotest.New("simple", 4)
		c.Lack(test.lacks)
		l := chiptest.Request(t, c, 0, gpio.LineOptions{})
		_, err := c.Request(1, test.o)
		for what, err := range map[string]error{"request line 1 (GPIO1)": err, "reconfigure line 0 (GPIO0)": l.Reconfigure(test.o)} {
			if gpio.Missing(err) != test.lacks || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: error %v, want it to say so, and %s", what, err, test.lacks)
			}
		}
		if info, err := c.Info(); err != nil || !reflect.DeepEqual(info.Lacks, []gpio.Feature{test.lacks}) || info.Lines[1].Used {
			t.Errorf("info = %+v, %v, want it to lack %s and line 1 to be free", info, err, test.lacks)
		}
		if err := l.Reconfigure(gpio.LineOptions{Output: true}); err != nil {
			t.Errorf("Reconfigure without it: %v", err)
		}
	}
	c := gpiotest.New("old", 1)
	l := chiptest.Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	c.Lack(gpio.FeatureReconfigure)
	if err := l.Reconfigure(gpio.LineOptions{Output: true}); gpio.Missing(err) != gpio.FeatureReconfigure || c.Level(0) != 1 {
		t.Errorf("Reconfigure: error %v and level %d, want %s and 1 as before", err, c.Level(0), gpio.FeatureReconfigure)
	}
}

// TestReconfigureConcurrent does everything at once; the race detector looks on.
func TestReconfigureConcurrent(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	l, err := c.Request(0, gpio.LineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 200 {
				o := gpio.LineOptions{Output: (worker+i)%2 == 0, ActiveLow: i%3 == 0}
				if !o.Output {
					o.Debounce = time.Duration(i%2) * time.Microsecond
					o.Events = func(gpio.Event) { c.Level(0) }
				}
				err := l.Reconfigure(o)
				if err != nil && !errors.Is(err, gpio.ErrClosed) {
					t.Error(err)
				}
				_ = l.SetValue(i % 2) // fails on an input
				c.Drive(0, i%2)
				if worker == 0 && i == 150 {
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	chiptest.Request(t, c, 0, gpio.LineOptions{})
}
