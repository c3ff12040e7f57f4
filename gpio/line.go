//go:build linux

package gpio

import (
	"fmt"
	"sync"
	"syscall"
)

// wire is a line as the kernel gives it to a program. All of it is called under held.mu, or while nothing else can be.
type wire interface {
	get() (int, error)
	set(value int) error
	// configure changes the line, or leaves it as it was and says why: what is missing, and in what words.
	configure(o LineOptions) (missing Feature, reason string, err error)
	// pause holds back events until resume; it waits for a running Events function, so it is called without held.mu.
	pause()
	resume()
	close() error
}

// held is a line of a character device.
type held struct {
	chip   *chip
	offset int

	config sync.Mutex // taken before mu by Reconfigure and Close, which wait for a running Events function without mu

	mu     sync.Mutex
	closed bool
	output bool
	wire   wire
}

// Value reads the line.
func (l *held) Value() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, l.wrap("read", ErrClosed)
	}
	v, err := l.wire.get()
	if err != nil {
		return 0, l.wrap("read", err)
	}
	return v, nil
}

// SetValue drives an output.
func (l *held) SetValue(value int) error {
	if err := CheckValue(value); err != nil {
		return l.wrap("set", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return l.wrap("set", ErrClosed)
	case !l.output:
		return l.wrap("set", syscall.EPERM)
	}
	if err := l.wire.set(value); err != nil {
		return l.wrap("set", err)
	}
	return nil
}

// Reconfigure changes the line in place.
func (l *held) Reconfigure(o LineOptions) error {
	o, err := o.Normal()
	if err != nil {
		return l.wrap(opReconfigure, err)
	}
	l.config.Lock()
	defer l.config.Unlock()
	l.wire.pause()
	missing, reason, err := l.configure(o)
	l.wire.resume()
	if err != nil {
		line, infoErr := l.chip.device.info(l.offset)
		if infoErr != nil {
			line = LineInfo{Offset: l.offset} // the first error says more
		}
		return &RequestError{Op: opReconfigure, Chip: l.chip.device.name(), Line: line, Missing: missing, Reason: reason, Err: Gone(err)}
	}
	return nil
}

func (l *held) configure(o LineOptions) (Feature, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return "", "", ErrClosed
	case o.AsIs:
		return FeatureReconfigure, asIsAgain, syscall.EOPNOTSUPP
	}
	missing, reason, err := l.wire.configure(o)
	if err == nil {
		l.output = o.Output
	}
	return missing, reason, err
}

// Close gives the line back.
func (l *held) Close() error {
	l.config.Lock()
	defer l.config.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	// Without mu, as this waits for an Events function, which may be reading the line.
	err := l.wire.close()
	l.chip.mu.Lock()
	delete(l.chip.lines, l)
	l.chip.mu.Unlock()
	if err != nil {
		return l.wrap("close", err)
	}
	return nil
}

func (l *held) wrap(verb string, err error) error {
	return fmt.Errorf("%s line %d of %s: %w", verb, l.offset, l.chip.device.name(), Gone(err))
}
