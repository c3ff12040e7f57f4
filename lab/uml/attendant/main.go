//go:build linux

// Command attendant stands beside a virtual Pi, inside its kernel but outside every program under test: on orders from the host's
// test, which come over a serial line, it runs programs and wires and watches the lines. It is of no use outside of a guest.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"rollcall/lab/uml/job"
	"rollcall/lab/uml/sim"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "attendant:", err)
		os.Exit(1)
	}
}

func run() error {
	line, err := openSerial(job.Serial)
	if err != nil {
		return err
	}
	bank, err := sim.Open(sim.Label)
	if err != nil {
		return err
	}
	a := &attendant{bank: bank, out: json.NewEncoder(line), programs: map[int]*os.Process{}}
	a.say(job.Word{News: job.Hello})
	return a.serve(line)
}

// openSerial opens a serial line and makes it a plain pipe of bytes.
func openSerial(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0 // no echo, no editing, no newlines changed
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// attendant is what the orders work on.
type attendant struct {
	bank *sim.Bank
	mu   sync.Mutex // of out and programs
	out  *json.Encoder

	programs map[int]*os.Process // by the id of the order that started them
}

// say tells the host. Where the line is gone, so is the test.
func (a *attendant) say(w job.Word) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.out.Encode(w); err != nil {
		fmt.Fprintln(os.Stderr, "attendant:", err)
	}
}

// serve obeys orders, one after the other, until one ends it.
func (a *attendant) serve(line io.Reader) error {
	in := json.NewDecoder(bufio.NewReader(line))
	for {
		var o job.Order
		if err := in.Decode(&o); err != nil {
			return err
		}
		w, err := a.see(o)
		w.ID = o.ID
		if err != nil {
			w.Error = err.Error()
		}
		a.say(w)
		if o.Do == job.Off {
			return nil
		}
	}
}

// see obeys an order that may be in a file.
func (a *attendant) see(o job.Order) (job.Word, error) {
	if o.Do != job.See {
		return a.obey(o)
	}
	text, err := os.ReadFile(o.Path)
	if err != nil {
		return job.Word{}, err
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return job.Word{}, err
	}
	return a.obey(o)
}

func (a *attendant) obey(o job.Order) (w job.Word, err error) {
	switch o.Do {
	case job.Start:
		w.Pid, err = a.start(o)
	case job.Signal:
		err = a.signal(o.Program, o.Signal)
	case job.Pull:
		err = a.bank.Pull(o.Line, o.High)
	case job.Level:
		w.High, err = a.bank.Level(o.Line)
	case job.Watch:
		err = a.watch(o)
	case job.Write:
		err = write(o.Path, o.Data)
	case job.Read:
		w.Data, err = os.ReadFile(o.Path)
	case job.Off:
	default:
		err = fmt.Errorf("unknown order %q", o.Do)
	}
	return w, err
}

// write writes a file and brings it to the disk, its name too.
func write(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	dir, derr := os.Open(filepath.Dir(path))
	if derr != nil {
		return errors.Join(err, derr)
	}
	return errors.Join(err, dir.Sync(), dir.Close())
}

// watch tells the host of each change of a line that an output drives. It ends with the guest.
func (a *attendant) watch(o job.Order) error {
	trace, err := a.bank.Trace(o.Line)
	if err != nil {
		return err
	}
	last, err := a.bank.Level(o.Line)
	if err != nil {
		return errors.Join(err, trace.Close())
	}
	go func() {
		for {
			s, err := trace.Next(0)
			if err != nil {
				a.say(job.Word{ID: o.ID, News: job.Set, Error: err.Error()})
				return
			}
			if s.High != last {
				a.say(job.Word{ID: o.ID, News: job.Set, High: s.High, At: s.At})
			}
			last = s.High
		}
	}()
	return nil
}
