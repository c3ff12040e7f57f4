package agents

import (
	"errors"
	"os"
	"time"

	"rollcall/reports"
)

// A set-up that has been taken is saved before it is in force, and a disk can be slow. Whoever has the agent meanwhile does what is due
// for the outputs himself: those of before, which are in force, and those to come, whose lines are taken.

// meanwhile calls f, which knows nothing of the agent, and switches what is due until it returns.
func (t *gpioTaking) meanwhile(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }() // which is waited for
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-timer.C:
			if next := t.switchDue(); !next.IsZero() {
				timer.Reset(max(time.Until(next), 0))
			}
		}
	}
}

// switchDue switches outputs whose timers have ended, and returns when the next will.
func (t *gpioTaking) switchDue() (next time.Time) {
	now := time.Now()
	if t.a.bank != nil {
		next = t.a.switchBy(&t.a.present, t.a.bank, now)
	}
	return earlier(next, t.a.switchBy(t.next, t.bank, now))
}

// late reports whether nobody waits any more for the answer to the call that has the agent.
func (a *gpioAgent) late() bool { return !a.deadline.IsZero() && time.Now().After(a.deadline) }

// replaceSetup saves a set-up in the place of the one that there may be. It is not to come into force once its sender was told that it
// took too long, and that one is put back.
func (a *gpioAgent) replaceSetup(t *gpioTaking, doc []byte) error {
	file, write := a.file(gpioSetupFile), a.write
	old, err := gpioRead(file)
	if err != nil {
		return err
	}
	if err := t.meanwhile(func() error { return write(file, doc) }); err != nil {
		return err
	}
	if !a.late() {
		return nil
	}
	err = t.meanwhile(func() error {
		if old == nil {
			return os.Remove(file)
		}
		return write(file, old)
	})
	return errors.Join(reports.Errorf(reports.CodeTimeout, "the disk took too long; nothing was changed"), err)
}
