package agents

import (
	"context"
	"slices"
	"strings"

	"rollcall/reports"
)

// A command whose effect is to survive is answered once that is saved: nothing may come back on after an OFF that was answered. Only
// the answer waits for the disk; the lines, their timers and other callers do not.

// gpioWait is what the answer to a command waits for.
type gpioWait struct {
	before  []string // what was not saved before the command
	begun   uint64   // how many saves had begun
	unsaved []string // what is not saved after it; nil: the answer need not wait
}

// waits begins a command.
func (a *gpioAgent) waits() gpioWait {
	a.saver.total = false
	return gpioWait{before: a.unsaved(), begun: a.saver.begun}
}

// done ends the command, whose own output may be that of a path. What others left to be saved is not its matter.
func (w *gpioWait) done(a *gpioAgent, path string) {
	for _, l := range a.unsaved() {
		if l == path || gpioOwner(path) == l || !slices.Contains(w.before, l) {
			w.unsaved = append(w.unsaved, l)
		}
	}
	if a.saver.total && a.totals != nil {
		w.unsaved = append(w.unsaved, path)
	}
}

// unsaved returns the paths of outputs that a start would take for on though they are off, or give more time than they have.
func (a *gpioAgent) unsaved() (paths []string) {
	if a.deps.StateDir == "" {
		return nil
	}
	for _, l := range a.present.lines {
		if l.restored() && a.kept.filed[l.name] && !a.kept.outputs[l.name] ||
			l.aged() && !l.restored() && a.kept.running[l.name] && !a.kept.aged[l.name] {
			paths = append(paths, l.path)
		}
	}
	return paths
}

// await waits until what a command did is saved. The error says what is true then, and what the command has made of its point is told
// all the same. The caller must not have the agent.
func (a *gpioAgent) await(ctx context.Context, w gpioWait, r reports.Reading) error {
	if len(w.unsaved) == 0 {
		return nil
	}
	err := a.awaitSaved(ctx, w)
	if err != nil && r.Path != "" {
		if callErr := a.do(context.WithoutCancel(ctx), func() { a.put(r.Path, r.Value, r.Time) }); callErr != nil {
			return callErr
		}
	}
	return err
}

func (a *gpioAgent) awaitSaved(ctx context.Context, w gpioWait) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.saver.ended <= w.begun && !a.closed {
		if a.saver.begun <= w.begun {
			a.saver.wanted, a.kept.dirty = true, true
		}
		a.saveDue()
		done := a.saver.done
		if done == nil {
			break // it has ended
		}
		a.mu.Unlock()
		var err error
		select {
		case <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		a.mu.Lock()
		if err != nil {
			return w.failed(reports.CodeTimeout, "is not saved yet")
		}
		a.saveDue()
	}
	if a.saver.ended > w.begun && a.saver.err != nil {
		return w.failed(reports.CodeDevice, "could not be saved: "+a.saver.err.Error())
	}
	return nil
}

// failed says what was done, and what was not.
func (w gpioWait) failed(code, why string) error {
	paths := strings.Join(slices.Compact(slices.Sorted(slices.Values(w.unsaved))), ", ")
	return reports.Errorf(code, "done, but what %s is to be after a restart %s", paths, why)
}
