package agents

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/gpio/input"
)

// gpioSaver saves while the engine goes on: a slow disk must not make an output late.
type gpioSaver struct {
	done chan struct{} // closed when the save that runs has ended; nil: none does
	due  time.Time
	kept map[string]bool // the states that the last save was of; nil: none
	aged map[string]bool // the outputs with a time that it has
	err  error           // of the last save; to be looked at when done is closed

	begun, ended uint64 // how many saves
	wanted       bool   // somebody waits for the next one
	total        bool   // the command at work has set a total
}

func (s *gpioSaver) next() time.Time {
	if s.done != nil {
		return time.Time{} // its end rings
	}
	return s.due
}

// file returns where something is saved, or "".
func (a *gpioAgent) file(what string) string {
	if a.deps.StateDir == "" {
		return ""
	}
	return filepath.Join(a.deps.StateDir, a.deps.Service+"."+what)
}

// Names of what is saved, after the name of the service.
const (
	gpioSetupFile  = "setup.yaml"
	gpioKeptName   = "state.json"
	gpioTotalsName = "totals.json"
)

// tidy removes what a power cut has left of earlier saves.
func (a *gpioAgent) tidy() {
	if a.deps.StateDir == "" {
		return
	}
	if err := config.Tidy(a.file(gpioSetupFile), a.file(gpioKeptName), a.file(gpioTotalsName)); err != nil {
		a.log.Warn("what a crash has left stays", "err", err)
	}
}

// saveDue begins to save what is due.
func (a *gpioAgent) saveDue() {
	if a.deps.StateDir == "" {
		return
	}
	if a.saver.done != nil {
		select {
		case <-a.saver.done:
			a.saved()
		default:
			return
		}
	}
	a.saver.due = a.kept.next()
	if a.totals != nil {
		a.saver.due = earlier(a.saver.due, a.totals.Next())
	}
	if now := time.Now(); a.saver.wanted || !a.saver.due.IsZero() && !a.saver.due.After(now) {
		save, done := a.saves(now), make(chan struct{})
		a.saver.done, a.saver.wanted = done, false
		a.saver.begun++
		go func() { // close waits for it
			a.saver.err = save()
			close(done)
			a.inbox.ring()
		}()
	}
}

// saves returns the function that saves all there is to save.
func (a *gpioAgent) saves(now time.Time) func() error {
	var states *gpioKeptFile
	a.saver.kept = nil
	if a.kept.dirty {
		states = a.beginKept(now)
		a.saver.kept, a.saver.aged = states.Outputs, map[string]bool{}
		for name := range states.On {
			a.saver.aged[name] = true
		}
	}
	totals, file, write := a.totals, a.file(gpioKeptName), a.write
	return func() error {
		var errs []error
		if totals != nil {
			errs = append(errs, totals.Save(now))
		}
		if states != nil {
			errs = append(errs, gpioWriteKept(write, file, states))
		}
		return errors.Join(errs...)
	}
}

// saved looks at the end of a save. What failed is tried again when the next is due, and stands on the error topic until it is saved.
func (a *gpioAgent) saved() {
	a.saver.done = nil
	a.saver.ended = a.saver.begun
	a.fault(gpioSaveFault, a.saver.err)
	if a.saver.err != nil {
		a.kept.dirty = true
		return
	}
	if a.saver.kept != nil {
		a.kept.file(a.saver.kept, true)
		a.kept.aged = a.saver.aged
		a.kept.staged = false
	}
}

// gpioSaveFault is what the fault is about when states or totals are not saved.
const gpioSaveFault = "save"

// fault puts an error on the error topic of the service, and nil takes it off.
func (a *gpioAgent) fault(about string, err error) {
	if err != nil {
		a.log.Error("fault", "about", about, "err", err)
	}
	if a.deps.Link != nil && (err != nil || a.faults[about] != nil) {
		a.deps.Link.Fault(about, err)
	}
	if a.faults == nil {
		a.faults = map[string]error{}
	}
	a.faults[about] = err
}

// awaitSave waits for the save that runs, if any.
func (a *gpioAgent) awaitSave() {
	if a.saver.done != nil {
		<-a.saver.done
		a.saved()
	}
}

// saveAll saves what there is to save and waits for it.
func (a *gpioAgent) saveAll() error {
	if a.file(gpioKeptName) == "" {
		return nil
	}
	a.awaitSave()
	return a.saves(time.Now())()
}

// openTotals opens the file of the totals once a set-up counts. A damaged one is put aside, and must not keep outputs and all else
// from being set up; that meters begin at 0 stands on the error topic until one is set.
func (a *gpioAgent) openTotals(lines []*gpioLine) error {
	file := a.file(gpioTotalsName)
	if a.totals != nil || file == "" || !slices.ContainsFunc(lines, func(l *gpioLine) bool { return l.sense != nil && l.sense.count }) {
		return nil
	}
	totals, err := input.OpenTotals(file)
	if err != nil {
		damaged, aside := err, file+gpioDamaged
		if err := os.Rename(file, aside); err != nil {
			return fmt.Errorf("%w; it can't be put aside: %w", damaged, err)
		}
		a.fault(gpioTotalsFault, fmt.Errorf("meters begin at 0, set them (set total/NAME): %w; it was put aside as %s", errors.Unwrap(damaged), aside))
		if totals, err = input.OpenTotals(file); err != nil {
			return err
		}
	}
	a.totals = totals
	return nil
}

// gpioDamaged ends the name of a file that was put aside since it can't be read.
const gpioDamaged = ".damaged"

// gpioTotalsFault is what the fault is about when a file of totals was damaged.
const gpioTotalsFault = "totals"

// retainTotals forgets the totals of all inputs that do not count by the saved set-up, which is in force.
func (a *gpioAgent) retainTotals() {
	if a.totals == nil && a.file(gpioTotalsName) != "" {
		totals, err := input.OpenTotals(a.file(gpioTotalsName))
		if err != nil {
			a.log.Warn("totals that are not needed are left", "err", err)
			return
		}
		a.totals = totals
	}
	if a.totals == nil {
		return
	}
	a.totals.Retain(func(name string) bool {
		l := a.present.byPath["input/"+name]
		return l != nil && l.sense.count
	})
}

// total returns what an input has counted in all its life.
func (a *gpioAgent) total(name string) uint64 {
	if a.totals == nil {
		return 0
	}
	return a.totals.Get(name)
}

// keepTotal has a total saved by and by.
func (a *gpioAgent) keepTotal(name string, n uint64) error {
	if a.totals == nil {
		return nil
	}
	return a.totals.Set(name, n)
}
