package agents

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// disk has saves wait until it is let go, and fail while it is told so.
func (s *gpioStage) disk() (hold *atomic.Pointer[chan struct{}], fails *atomic.Bool) {
	hold, fails = &atomic.Pointer[chan struct{}]{}, &atomic.Bool{}
	gpioEngine(s.t, s.agent, func() {
		s.agent.write = func(file string, doc []byte) error {
			if c := hold.Load(); c != nil {
				<-*c
			}
			if fails.Load() {
				return errors.New("no space left on device")
			}
			return config.Save(file, doc)
		}
	})
	return hold, fails
}

// An OFF that is to survive is answered once it is saved; the line, timers and other outputs do not wait for that.
func TestGPIOOffIsSavedBeforeTheAnswer(t *testing.T) {
	const options = "outputs: {r: {pin: 2, initial: restore}, other: {pin: 3, max_on: 1s}, k: {pin: 4, initial: keep, max_on: 1h}}"
	gpioBubble(t, options, func(s *gpioStage) {
		hold, _ := s.disk()
		s.do("output/r", true)
		s.pass(time.Minute)
		for _, c := range []struct {
			path string
			on   bool
		}{{"output/r", false}, {"output/k", true}} {
			slow := make(chan struct{})
			hold.Store(&slow)
			answer := make(chan error, 1)
			go func() {
				_, err := s.agent.Apply(s.t.Context(), reports.Command{Verb: "set", Path: c.path, Value: c.on})
				answer <- err
			}()
			s.pass(time.Millisecond)
			s.wantDo("ON", "output/other", true)
			s.wantLevels(2, 0, 3, 1)
			s.pass(time.Second)
			s.wantLevels(2, 0, 3, 0)
			select {
			case err := <-answer:
				t.Errorf("%s: answered before it was saved: %v", c.path, err)
			default:
			}
			close(slow)
			if err := <-answer; err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
			hold.Store(nil)
		}
		s.kill()
		s.begin(options)
		s.wantLevels(2, 0)
	})
}

// A disk that does not save, or not in time: the answer says what is true, and the error topic that it is so until it is mended.
func TestGPIONotSaved(t *testing.T) {
	gpioBubble(t, "outputs: {r: {pin: 2, initial: restore}, other: {pin: 3}}\ninputs: {m: {pin: 5, count: true}}", func(s *gpioStage) {
		hold, fails := s.disk()
		off := func(ctx context.Context) error {
			_, err := s.agent.Apply(ctx, reports.Command{Verb: "set", Path: "output/r", Value: false})
			return err
		}
		want := func(err error, code, text string) {
			t.Helper()
			if err == nil || reports.CodeOf(err) != code || err.Error() != text {
				t.Errorf("%v (%s), want %s (%s)", err, reports.CodeOf(err), text, code)
			}
		}
		s.do("output/r", true)
		s.pass(time.Minute)
		s.told()
		fails.Store(true)
		for range 2 { // again is no better
			want(off(s.t.Context()), reports.CodeDevice, "done, but what output/r is to be after a restart could not be saved: save states: no space left on device")
		}
		s.wantLevels(2, 0)
		if told := s.told(); !strings.HasPrefix(told, "output/r OFF") {
			t.Errorf("told %s", told)
		}
		s.wantDo("ON", "output/other", true) // is not concerned
		if fault := s.link.faults["save"]; fault != "save states: no space left on device" {
			t.Errorf("faults %v", s.link.faults)
		}
		want(s.agent.Setup(s.t.Context(), []byte("outputs: {x: {pin: 9}}")), reports.CodeDevice, "save set-up: save states: no space left on device")
		want(gpioControlBlock(t, s.agent, "output\n name x\n pin 9\n"), reports.CodeDevice, "save set-up: save states: no space left on device")
		fails.Store(false)
		if err := off(s.t.Context()); err != nil {
			t.Error(err)
		}
		if len(s.link.faults) != 0 {
			t.Errorf("faults %v", s.link.faults)
		}
		s.do("output/r", true)
		s.pass(time.Minute)
		slow := make(chan struct{})
		hold.Store(&slow)
		ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
		defer cancel()
		want(off(ctx), reports.CodeTimeout, "done, but what output/r is to be after a restart is not saved yet")
		s.wantLevels(2, 0)
		close(slow)
		hold.Store(nil)
		s.pass(time.Second)
		if err := off(s.t.Context()); err != nil {
			t.Error(err)
		}
	})
}
