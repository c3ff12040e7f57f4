//go:build linux

package uml

import (
	"context"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/lab/transcript"
	"rollcall/lab/uml/job"
)

// Program is a program that runs on a virtual Pi.
type Program struct {
	Name   string
	Stdout transcript.Transcript
	Stderr transcript.Transcript
	All    transcript.Transcript // both, as they came

	t     testing.TB
	pi    *Pi
	id    int // of its order
	pid   int
	ready chan struct{} // closed at READY=1
	done  chan struct{} // closed at its end, or the Pi's
	once  sync.Once

	status int // valid after done
}

// lost is the status of a program whose Pi went off.
const lost = -1

// Start runs a program on the Pi until Stop, Kill, or the end of the boot or the test. A bare name is looked up in
// PiOptions.Programs, then in the Pi's PATH. notify waits until it says READY=1 to systemd's socket (sd_notify(3)).
func (p *Pi) Start(notify bool, name string, args ...string) *Program {
	p.t.Helper()
	g := &Program{Name: filepath.Base(name), t: p.t, pi: p, ready: make(chan struct{}), done: make(chan struct{}), status: lost}
	w, err := p.try(job.Order{Do: job.Start, Path: p.path(name), Args: args, Notify: notify}, g.hear)
	if err != nil {
		p.t.Fatalf("start %s on the Pi: %v", name, err)
	}
	g.id, g.pid = w.ID, w.Pid
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("%s on %s said:\n%s", g.Name, p.o.Name, g.All.String())
		}
	})
	if notify {
		select {
		case <-g.ready:
		case <-g.done:
			p.t.Fatalf("%s on %s ended before it was ready:\n%s", name, p.o.Name, g.All.String())
		case <-time.After(patience):
			p.t.Fatalf("%s on %s is not ready:\n%s", name, p.o.Name, g.All.String())
		}
	}
	return g
}

// Run runs a program on the Pi to its end, within the time, and returns what it wrote and its exit status, as a shell has it.
func (p *Pi) Run(within time.Duration, name string, args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	g := p.Start(false, name, args...)
	select {
	case <-g.done:
	case <-time.After(within):
		p.t.Fatalf("%s on %s has not ended within %s:\n%s", name, p.o.Name, within, g.All.String())
	}
	return g.Stdout.String(), g.Stderr.String(), g.status
}

// hear takes news of the program. It is called from one goroutine.
func (g *Program) hear(w job.Word) {
	switch w.News {
	case job.Output:
		_, _ = g.Stdout.Write(w.Data) // neither fails
		_, _ = g.All.Write(w.Data)
	case job.Complaint:
		_, _ = g.Stderr.Write(w.Data)
		_, _ = g.All.Write(w.Data)
	case job.Ready:
		g.once.Do(func() { close(g.ready) })
	case job.Exit:
		g.status = w.Status
		close(g.done)
	case job.Gone:
		if g.Running() {
			close(g.done)
		}
	}
}

// Signal signals the program and its children.
func (g *Program) Signal(s syscall.Signal) {
	g.t.Helper()
	g.pi.ask(job.Order{Do: job.Signal, Program: g.id, Signal: int(s)})
}

// Kill ends the program at once and waits for it; Stop does so as systemd does, with SIGTERM.
func (g *Program) Kill() { g.t.Helper(); g.end(syscall.SIGKILL) }

// Stop ends the program with SIGTERM and returns its exit status.
func (g *Program) Stop() int { g.t.Helper(); return g.end(syscall.SIGTERM) }

func (g *Program) end(s syscall.Signal) int {
	g.t.Helper()
	if g.Running() {
		_, err := g.pi.try(job.Order{Do: job.Signal, Program: g.id, Signal: int(s)}, nil)
		select {
		case <-g.done: // also when it has ended by itself meanwhile
		case <-time.After(patience):
			g.t.Fatalf("%s does not end at %v: %v\n%s", g.Name, s, err, g.All.String())
		}
	}
	return g.status
}

// Pid returns its process id on the Pi.
func (g *Program) Pid() int { return g.pid }

// Running reports whether it has not ended.
func (g *Program) Running() bool {
	select {
	case <-g.done:
		return false
	default:
		return true
	}
}

// WaitLine waits until the program has written a line that contains text, and returns the line.
func (g *Program) WaitLine(text string, within time.Duration) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	line, err := g.All.Wait(ctx, text)
	if err != nil {
		g.t.Fatalf("%s: %v; it wrote:\n%s", g.Name, err, g.All.String())
	}
	return line
}
