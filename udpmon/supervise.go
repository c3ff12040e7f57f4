package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"rollcall/config"
	"rollcall/internal/run"
)

// supervise runs a monitor with the configuration until ctx ends, and puts a new configuration in force at each value from
// hup. One that can't be read or can't be run is refused, and the old one stays in force.
func supervise(ctx context.Context, cfg config.Config, load func() (config.Config, error), hup <-chan os.Signal, log *slog.Logger) error {
	m, err := newMonitor(cfg, time.Now, log)
	if err != nil {
		return err
	}
	for {
		next, err := serve(ctx, m, load, hup, log)
		if err != nil || next == nil {
			return err
		}
		if m, err = replace(*next, m.config(), log); err != nil {
			return err
		}
	}
}

// serve runs a monitor until ctx ends, it can't go on, or there is a configuration that it can't change to; that it returns.
func serve(ctx context.Context, m *monitor, load func() (config.Config, error), hup <-chan os.Signal, log *slog.Logger) (*config.Config, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- m.run(running) }() // every return waits for it
	for {
		select {
		case err := <-done:
			run.Notify(run.Stopping)
			return nil, err
		case <-ctx.Done():
			run.Notify(run.Stopping)
			return nil, <-done
		case <-hup:
		}
		run.Notify(run.Reloading)
		fresh, err := load()
		if err != nil {
			log.Error("new configuration refused, the old one stays in force", "err", err)
		} else if m.reload(fresh) {
			log.Info("new configuration in force")
		} else if err := check(fresh, log); err != nil {
			log.Error(cannotRun, "err", err)
		} else { // what it changes needs new sockets; the next monitor says when it is ready
			log.Info("starting anew for the new configuration")
			stop()
			return &fresh, <-done
		}
		select {
		case <-m.ready:
			run.Notify(run.Ready)
		default: // it is still starting, and will say so itself
		}
	}
}

const cannotRun = "new configuration can't be run, the old one stays in force"

// check returns what can be seen to be wrong with a configuration before the monitor of the old one gives way.
func check(cfg config.Config, log *slog.Logger) error {
	if _, err := readPassword(cfg.Broker.PasswordFile); err != nil {
		return err
	}
	if _, _, err := loadOperators(cfg); err != nil {
		return err
	}
	if err := checkFaces(cfg); err != nil {
		return err
	}
	m := monitor{cfg: cfg, now: time.Now, log: log}
	return m.loadState()
}

// replace makes a monitor with the fresh configuration, or with the old one if that fails.
func replace(fresh, old config.Config, log *slog.Logger) (*monitor, error) {
	m, err := newMonitor(fresh, time.Now, log)
	if err == nil {
		log.Info("new configuration in force")
		return m, nil
	}
	log.Error(cannotRun, "err", err)
	return newMonitor(old, time.Now, log)
}
