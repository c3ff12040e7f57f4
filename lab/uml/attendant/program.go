//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"rollcall/lab/uml/job"
)

// signalled is what a shell adds to a signal's number for its exit status.
const signalled = 128

// start runs a program and tells the host what it writes and how it ends.
func (a *attendant) start(o job.Order) (int, error) {
	cmd := exec.Command(o.Path, o.Args...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal is for its children too
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = "/"
	p := &teller{a: a, id: o.ID}
	cmd.Stdout, cmd.Stderr = stream{p, job.Output}, stream{p, job.Complaint}
	var ready *net.UnixConn
	if o.Notify {
		path := fmt.Sprintf("/run/notify-%d", o.ID)
		var err error
		if ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
			return 0, err
		}
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path)
	}
	if err := cmd.Start(); err != nil {
		if ready != nil {
			_ = ready.Close() // nobody has it
		}
		return 0, err
	}
	a.mu.Lock()
	a.programs[o.ID] = cmd.Process
	a.mu.Unlock()
	if ready != nil {
		go p.listen(ready)
	}
	go p.wait(cmd, ready)
	return cmd.Process.Pid, nil
}

// teller tells of one program.
type teller struct {
	a  *attendant
	id int // of the order that started it
}

func (p *teller) say(w job.Word) {
	w.ID = p.id
	p.a.say(w)
}

// stream is what a program writes.
type stream struct {
	p    *teller
	kind job.News
}

func (s stream) Write(b []byte) (int, error) {
	s.p.say(job.Word{News: s.kind, Data: bytes.Clone(b)})
	return len(b), nil
}

// listen waits for the program to be ready (sd_notify(3)), until its socket is closed.
func (p *teller) listen(c *net.UnixConn) {
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte("READY=1")) {
			p.say(job.Word{News: job.Ready})
		}
	}
}

func (p *teller) wait(cmd *exec.Cmd, ready *net.UnixConn) {
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "attendant:", err)
	}
	if ready != nil {
		_ = ready.Close() // ends listen
	}
	status := cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		status = signalled + int(ws.Signal())
	}
	p.a.mu.Lock()
	delete(p.a.programs, p.id)
	p.a.mu.Unlock()
	p.say(job.Word{News: job.Exit, Status: status})
}

// signal signals a program and its children.
func (a *attendant) signal(program, sig int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.programs[program]
	if p == nil {
		return errors.New("it has ended")
	}
	return syscall.Kill(-p.Pid, syscall.Signal(sig))
}
