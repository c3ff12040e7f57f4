package agents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/gpio/input"
)

// gpioKept is what outputs with initial: restore were last told.
type gpioKept struct {
	outputs map[string]bool
	dirty   bool
	saved   time.Time       // when that was tried last
	filed   map[string]bool // those that may be on in the file
	off     time.Time       // since when one of these is off, which is not in the file; zero: none is
}

// gpioKeptEvery is how often it is saved at the most. The first change after as long a silence is saved at once, and so is an OFF of
// what is on in the file: nothing may come back on that was switched off.
const gpioKeptEvery = 10 * time.Second

// gpioKeptFile is the file that it is saved in.
type gpioKeptFile struct {
	Version int             `yaml:"version" json:"version"`
	Outputs map[string]bool `yaml:"outputs" json:"outputs"`
}

// Validate checks the version.
func (f *gpioKeptFile) Validate() error {
	if f.Version != 1 {
		return config.At("version", "is %d, only 1 is known", f.Version)
	}
	return nil
}

// value returns what an output was last told.
func (k *gpioKept) value(name string) bool { return k.outputs[name] }

// set takes note of what an output was told, if it is one to be restored.
func (k *gpioKept) set(l *gpioLine, on bool) {
	if l.out == nil || l.out.Initial != gpioRestore {
		return
	}
	if was, known := k.outputs[l.name]; !known || was != on {
		if k.outputs == nil {
			k.outputs = map[string]bool{}
		}
		k.outputs[l.name], k.dirty = on, true
		if !on && k.filed[l.name] && k.off.IsZero() {
			k.off = time.Now()
		}
	}
}

// retain forgets outputs that are not to be restored any more, and takes note of what those begin with that now are. One that goes
// on by another name is still what it was.
func (k *gpioKept) retain(lines []*gpioLine) {
	before := k.outputs
	k.outputs = map[string]bool{}
	for _, l := range lines {
		if l.out == nil || l.out.Initial != gpioRestore {
			continue
		}
		name := l.name
		if l.stays {
			name = l.old.name
		}
		on, known := before[name]
		if !known || !l.stays && gpioAnew(lines, name) {
			on = l.hold.value == 1
		}
		k.outputs[l.name] = before[l.name]
		k.set(l, on)
		if _, known := before[l.name]; !known {
			k.dirty = true
		}
	}
	for name := range before {
		if _, restored := k.outputs[name]; !restored {
			k.dirty = true
		}
	}
}

// gpioAnew reports whether what had the name before goes on by another one, so that an output of this name, which does not stay,
// was never told anything.
func gpioAnew(lines []*gpioLine, name string) bool {
	return slices.ContainsFunc(lines, func(l *gpioLine) bool { return l.stays && l.name != name && l.old.name == name })
}

// next returns when it is to be saved, or zero.
func (k *gpioKept) next() time.Time {
	if !k.dirty {
		return time.Time{}
	}
	if !k.off.IsZero() {
		return k.off
	}
	return k.saved.Add(gpioKeptEvery)
}

// file takes note of what is in the file, or may be: until a save has ended it is not known which of the two is there.
func (k *gpioKept) file(outputs map[string]bool, surely bool) {
	if surely || k.filed == nil {
		k.filed = map[string]bool{}
	}
	for name, on := range outputs {
		k.filed[name] = k.filed[name] || on
	}
}

// gpioSaver saves while the engine goes on: a slow disk must not make an output late.
type gpioSaver struct {
	done chan struct{} // closed when the save that runs has ended; nil: none does
	due  time.Time
	kept map[string]bool // the states that the last save was of; nil: none
	err  error           // of the last save; to be looked at when done is closed
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

// saveDue begins to save what is due.
func (a *gpioAgent) saveDue() {
	if a.deps.StateDir == "" {
		return
	}
	if a.saver.done != nil {
		select {
		case <-a.saver.done:
			a.saver.done = nil
			a.saved(a.saver.err)
		default:
			return
		}
	}
	a.saver.due = a.kept.next()
	if a.totals != nil {
		a.saver.due = earlier(a.saver.due, a.totals.Next())
	}
	if now := time.Now(); !a.saver.due.IsZero() && !a.saver.due.After(now) {
		save, done := a.saves(now), make(chan struct{})
		a.saver.done = done
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
		states = &gpioKeptFile{1, maps.Clone(a.kept.outputs)}
		a.kept.dirty, a.kept.saved, a.kept.off = false, now, time.Time{}
		a.kept.file(states.Outputs, false)
		a.saver.kept = states.Outputs
	}
	totals, file := a.totals, a.file(gpioKeptName)
	return func() error {
		var errs []error
		if totals != nil {
			errs = append(errs, totals.Save(now))
		}
		if states != nil {
			doc, err := json.MarshalIndent(states, "", "  ")
			if err == nil {
				err = config.Save(file, append(doc, '\n'))
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("save states: %w", err))
			}
		}
		return errors.Join(errs...)
	}
}

// saved looks at the end of a save. What failed is tried again when the next is due.
func (a *gpioAgent) saved(err error) {
	if err != nil {
		a.log.Error("not saved", "err", err)
		a.kept.dirty = true
		return
	}
	if a.saver.kept != nil {
		a.kept.file(a.saver.kept, true)
	}
}

// saveAll saves what there is to save and waits for it.
func (a *gpioAgent) saveAll() error {
	if a.file(gpioKeptName) == "" {
		return nil
	}
	if a.saver.done != nil {
		<-a.saver.done
		a.saver.done = nil
		a.saved(a.saver.err)
	}
	return a.saves(time.Now())()
}

// loadKept reads what outputs were last told. A file that can't be read is no reason to do nothing at all: all is off then.
func (a *gpioAgent) loadKept() {
	file := a.file(gpioKeptName)
	if file == "" {
		return
	}
	doc, err := gpioRead(file)
	if err != nil || doc == nil {
		if err != nil {
			a.log.Error("what outputs were last told can't be restored; they are off", "err", err)
		}
		return
	}
	node, err := config.ParseNode(file, doc)
	var kept gpioKeptFile
	if err == nil {
		err = node.Decode(&kept)
	}
	if err != nil {
		a.log.Error("what outputs were last told can't be restored; they are off", "err", err)
		return
	}
	a.kept.outputs = kept.Outputs
	a.kept.file(kept.Outputs, true)
}

// openTotals opens the file of the totals once a set-up counts. A damaged one is an error, so that no meter begins at 0 unnoticed.
func (a *gpioAgent) openTotals(lines []*gpioLine) error {
	if a.totals != nil || a.file(gpioTotalsName) == "" {
		return nil
	}
	for _, l := range lines {
		if l.sense == nil || !l.sense.count {
			continue
		}
		var err error
		if a.totals, err = input.OpenTotals(a.file(gpioTotalsName)); err != nil {
			return &gpioFault{l.at + ".count", err}
		}
		return nil
	}
	return nil
}

// retainTotals forgets the totals of inputs that counted before and are not to count any more.
func (a *gpioAgent) retainTotals(before []*gpioLine) {
	for _, l := range before {
		if l.sense == nil || !l.sense.count || a.totals == nil {
			continue
		}
		if now := a.present.byPath[l.path]; now == nil || now.sense == nil || !now.sense.count {
			a.totals.Remove(l.name)
		}
	}
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

// saveTotal saves a total that was set.
func (a *gpioAgent) saveTotal(name string, n uint64) error {
	if err := a.keepTotal(name, n); err != nil || a.totals == nil {
		return err
	}
	return a.totals.Save(time.Now())
}

// gpioRead reads a file, but not more than a document may have and one byte; nil means that there is none.
func gpioRead(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	doc, err := io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
	if doc == nil && err == nil {
		doc = []byte{} // it is there, and empty
	}
	return doc, err
}
