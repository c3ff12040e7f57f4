//go:build linux

package gpio

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
)

// edgeSize is the size of a struct gpio_v2_line_event of linux/gpio.h.
const edgeSize = 48

// native is the byte order of the kernel.
var native = binary.NativeEndian

// goneWithin is how often a line whose edges are awaited is looked at for its chip being gone: Linux 6.1 wakes no reader for that
// (TestKernelUnplugged).
const goneWithin = 3 * time.Second

// wireV2 is a line by the second version of the interface, with or without events.
type wireV2 struct {
	file *os.File
	o    LineOptions // what is in force; the value that an output has

	// Of the reader, which lives while there are events. Only its owner changes these while it does not run.
	stop chan struct{}
	done chan struct{} // closed when the reader has ended; nil before the first
	last uint32        // the kernel's number of the latest edge that was taken
	base uint32        // what of it Seq does not count
	gone bool
}

// resume starts the reader, if there are events to read.
func (w *wireV2) resume() {
	if w.o.Events == nil || w.gone {
		return
	}
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	go w.read(w.o.Events, w.o.Gone) // ends with pause or close, which wait for it
}

// pause ends the reader and waits for it.
func (w *wireV2) pause() {
	if w.done == nil {
		return
	}
	close(w.stop)
	_ = w.file.SetReadDeadline(time.Now()) // fails on a file that is closed only, and then the reader ends anyway
	<-w.done
	w.done = nil
}

// read delivers events until it is stopped, or the chip is gone.
func (w *wireV2) read(events func(Event), gone func()) {
	defer close(w.done)
	var buffer [16 * edgeSize]byte
	for {
		_ = w.file.SetReadDeadline(time.Now().Add(goneWithin)) // fails on a file that is closed, as Read does
		select {
		case <-w.stop:
			return
		default:
		}
		n, err := w.file.Read(buffer[:])
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, os.ErrClosed):
			return
		default:
			w.gone = true
			if gone != nil {
				gone()
			}
			return
		}
		for b := buffer[:n]; len(b) >= edgeSize; b = b[edgeSize:] {
			e := decodeEdge(b)
			w.last = e.Seq
			e.Seq -= w.base
			events(e)
		}
		runtime.Gosched() // on one processor, whoever was told goes before the next look at the file
	}
}

// configure changes the line while the reader is paused. Edges of before that nobody has read by then are dropped. A line that had
// no events has none of these: what the kernel has queued by then came after the change, and a sensor that answers as soon as its
// line is let go must not lose it.
func (w *wireV2) configure(o LineOptions) (Feature, string, error) {
	if err := w.apply(o); err != nil {
		_ = w.apply(w.o) // the kernel notes flags before it looks at whether they work; the first error says more
		return "", "", err
	}
	if w.o.Events != nil {
		w.drain()
	}
	w.o = o
	w.base = w.last
	return "", "", nil
}

// drain takes what edges there are and notes the number of the latest.
func (w *wireV2) drain() {
	var b [edgeSize]byte
	err := control(w.file, func(fd uintptr) error {
		for range 2 * EventBuffer { // what waits, and what comes meanwhile, but not without end
			n, err := syscall.Read(int(fd), b[:])
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || n < edgeSize {
				return err
			}
			w.last = decodeEdge(b[:]).Seq
		}
		return nil
	})
	_ = err // there are no more; whatever else is wrong the reader finds out
}

// close gives the line back and waits for the reader.
func (w *wireV2) close() error {
	err := w.file.Close()
	if w.done != nil {
		<-w.done
	}
	return err
}

// control calls f with the descriptor of a file, which stays open meanwhile.
func control(file *os.File, f func(fd uintptr) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(fd) }); err != nil {
		return err
	}
	return result
}
