package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// RunnerConfig says what a Runner runs. Config and Factories are needed; all else has defaults.
type RunnerConfig struct {
	File      string // where Config comes from, for errors that concern the file as a whole
	Config    config.Config
	Factories []Factory
	Only      []string // run only the configured agents of these names
	Log       *slog.Logger

	// For tests: how the host's broker is dialled, where /proc and /sys are, how chips are opened, and how answers are
	// delivered to the brokers of requesters.
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Root     string
	OpenChip func(name string) (gpio.Chip, error)
	Deliver  func(context.Context, bus.Config, ...bus.Message) error
}

// Runner runs the configured agents, each as a service with a connection of its own, so that each has its own last will.
type Runner struct {
	c        RunnerConfig
	log      *slog.Logger
	beat     time.Time           // of all services
	plan     plan                // owned by Run once that is called
	running  map[string]*running // owned by Run
	reporter *reporter           // owned by Run
	locks    locks               // owned by Run
	reloads  chan reload
	alive    chan struct{}
	ready    chan struct{}
	services atomic.Pointer[[]*service] // those that run; replaced, never changed
}

// running is a service that runs.
type running struct {
	*service
	retired atomic.Bool
	stop    context.CancelFunc
	done    chan struct{}
}

// reload is a plan that is to take the place of the present one.
type reload struct {
	plan plan
	done chan error
}

// NewRunner checks the whole configuration: every kind of agent is known, every agent's options are right, and what Only names
// is there. It connects to nothing and starts nothing. The error is a *config.Error.
func NewRunner(c RunnerConfig) (*Runner, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Deliver == nil {
		c.Deliver = bus.Deliver
	}
	p, err := c.plan(c.Config)
	if err != nil {
		return nil, err
	}
	r := &Runner{c: c, log: c.Log, beat: newBeat(time.Now(), rand.Float64()), plan: p, running: map[string]*running{},
		locks: locks{c.Log, map[string]*os.File{}}, reloads: make(chan reload), alive: make(chan struct{}), ready: make(chan struct{})}
	r.services.Store(new([]*service))
	return r, nil
}

// Ready is closed once each agent has been made, or has failed to be made for the first time. Whether there is a broker does
// not matter.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Services returns what each service says of itself at present.
func (r *Runner) Services() []reports.Service {
	var out []reports.Service
	for _, s := range *r.services.Load() {
		out = append(out, *s.described.Load())
	}
	return out
}

// Reload puts another configuration in force: services whose entry means the same are left alone, the others are stopped,
// started, or both. A configuration with an error, or with an agent that another process runs, changes nothing. It returns when the change is made, which needs Run.
func (r *Runner) Reload(ctx context.Context, conf config.Config) error {
	p, err := r.c.plan(conf)
	if err != nil {
		return err
	}
	l := reload{p, make(chan error, 1)}
	select {
	case r.reloads <- l:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// healthyWithin is how long the loops may take to show that they go round. A reload may have to wait for agents to close.
const healthyWithin = 2 * closeTimeout

// Healthy returns an error if the runner or the loop of a service does not go round any more. An agent that does not return is
// no such case.
func (r *Runner) Healthy() error {
	late := time.NewTimer(healthyWithin)
	defer late.Stop()
	select {
	case <-r.alive:
	case <-late.C:
		return errors.New("the runner does not answer")
	}
	for _, s := range *r.services.Load() {
		select {
		case <-s.alive:
		case <-s.over:
		case <-late.C:
			return fmt.Errorf("service %s does not answer", s.entry.name)
		}
	}
	return nil
}

// Run runs the services until ctx ends, stops them, and returns nil. Nothing that an agent or a broker does ends it. The error is that
// another process runs one of them.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.locks.await(ctx, r.plan); err != nil {
		return err
	}
	defer r.locks.retain(plan{})
	own, stop := context.WithCancel(context.WithoutCancel(ctx)) // services are stopped by name, each with its own context
	defer stop()
	r.replace(own, r.plan)
	defer r.stopAll()
	go r.awaitFirst(*r.services.Load()) // ends at the latest when the services are stopped
	for {
		select {
		case <-ctx.Done():
			return nil
		case r.alive <- struct{}{}:
		case l := <-r.reloads:
			err := r.locks.take(l.plan)
			if err == nil {
				r.replace(own, l.plan)
				r.locks.retain(l.plan)
			}
			l.done <- err
		}
	}
}

// awaitFirst closes ready once each service has been tried.
func (r *Runner) awaitFirst(services []*service) {
	for _, s := range services {
		<-s.first
	}
	close(r.ready)
}

// replace puts a plan in the place of the one that runs.
func (r *Runner) replace(ctx context.Context, p plan) {
	moved := !p.same(r.plan)
	var ended []*running
	for name, old := range r.running {
		i := p.index(name)
		if i >= 0 && !moved && p.entries[i].same(old.entry) && !old.handover.refused.Load() {
			continue
		}
		old.retired.Store(i < 0 || p.host != r.plan.host)
		old.handover.wanted.Store(i >= 0 && p.entries[i].kind == old.entry.kind && p.stateDir == r.plan.stateDir)
		old.stop()
		ended = append(ended, old)
		delete(r.running, name)
	}
	if r.reporter != nil && moved {
		r.reporter.stop()
		r.reporter = nil
	}
	left := map[string]Reloader{}
	for _, old := range ended {
		<-old.done
		left[old.entry.name] = old.handover.left
	}
	r.plan = p
	var services []*service
	for _, e := range p.entries {
		if r.running[e.name] == nil {
			r.running[e.name] = r.start(ctx, e, left[e.name])
		}
		services = append(services, r.running[e.name].service)
	}
	r.services.Store(&services)
	if r.reporter == nil {
		r.reporter = r.startReporter(ctx)
	}
}

// start starts the service of an entry, with the agent that one of before has left, or nil.
func (r *Runner) start(ctx context.Context, e entry, heir Reloader) *running {
	ctx, stop := context.WithCancel(ctx)
	s := &running{service: newService(e, r.plan.host, r.beat, r.log), stop: stop, done: make(chan struct{})}
	s.handover.heir = heir
	broker := r.plan.broker
	go func() { // stopAll or replace wait for it
		defer close(s.done)
		defer s.disown()
		if err := s.run(ctx, broker, &s.retired); err != nil {
			s.log.Error("service can't run", "err", err)
			s.started()
		}
	}()
	return s
}

// stopAll stops what runs, all at once, and waits for it.
func (r *Runner) stopAll() {
	r.reporter.stop()
	for _, s := range r.running {
		s.stop()
	}
	for _, s := range r.running {
		<-s.done
	}
}
