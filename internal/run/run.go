// Package run runs the named tasks of a daemon until the first failure or the end of its context, and tells systemd how it
// goes. It knows nothing of what the tasks do.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Task is a part of a daemon. Run returns nil when ctx ends; an error ends all other tasks.
type Task struct {
	Name string
	Run  func(ctx context.Context) error
}

// Tasks runs all tasks side by side, waits until every one has ended and returns the first error, with the name of its task.
// When one fails, the context of the others is cancelled.
func Tasks(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for _, t := range tasks {
		wg.Go(func() {
			err := t.Run(ctx)
			if err == nil || (errors.Is(err, context.Canceled) && ctx.Err() != nil) {
				return
			}
			once.Do(func() {
				first = fmt.Errorf("%s: %w", t.Name, err)
				cancel(first)
			})
		})
	}
	wg.Wait()
	return first
}

// Notify tells systemd a state such as daemon.SdNotifyReady (sd_notify(3)); without systemd it does nothing.
func Notify(state string) {
	// A failed notification changes nothing that the daemon could act on.
	_, _ = daemon.SdNotify(false, state)
}

// States for Notify.
const (
	Ready     = daemon.SdNotifyReady
	Reloading = daemon.SdNotifyReloading
	Stopping  = daemon.SdNotifyStopping
)

// Watchdog returns a task that pats systemd's watchdog at half its interval for as long as healthy returns nil, and ends at
// once where no watchdog is set (WATCHDOG_USEC).
func Watchdog(healthy func() error) Task {
	return Task{Name: "watchdog", Run: func(ctx context.Context) error {
		every, err := daemon.SdWatchdogEnabled(false)
		if err != nil || every == 0 {
			return err
		}
		t := time.NewTicker(every / 2)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				if healthy() == nil {
					Notify(daemon.SdNotifyWatchdog)
				}
			}
		}
	}}
}
