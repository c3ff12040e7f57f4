//go:build linux

package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tracing is where init mounts tracefs.
const tracing = "/sys/kernel/tracing"

// Set is a line that the kernel was told to drive: by a set, or by a request as an output with a value.
type Set struct {
	Line int
	High bool          // the level on the line, after active-low
	At   time.Duration // as of Now, to the microsecond
}

// Trace is what the kernel notes of the sets of some lines, whoever makes them, from Trace on. It costs the program that sets a
// line a microsecond and wakes nobody but a waiting Next. Close may be called while Next waits; nothing else is safe for concurrent use.
type Trace struct {
	dir  string
	base int
	pipe *os.File
	rest []byte
}

// Trace notes the sets of the lines; without any, of all lines.
func (b *Bank) Trace(lines ...int) (*Trace, error) {
	var terms []string
	for _, l := range lines {
		if err := b.check(l); err != nil {
			return nil, err
		}
		terms = append(terms, "gpio == "+strconv.Itoa(b.base+l))
	}
	if len(terms) == 0 {
		terms = []string{fmt.Sprintf("(gpio >= %d && gpio < %d)", b.base, b.base+b.Lines())}
	}
	dir, err := os.MkdirTemp(tracing+"/instances", "sim")
	if err != nil {
		return nil, err
	}
	t := &Trace{dir: dir, base: b.base}
	event := filepath.Join(dir, "events", "gpio", "gpio_value")
	for _, w := range [][2]string{
		{filepath.Join(dir, "trace_clock"), "mono"},
		{filepath.Join(dir, "buffer_size_kb"), "1024"},
		{filepath.Join(dir, "buffer_percent"), "0"}, // wake a reader at the first set, not at half a buffer of them
		{filepath.Join(event, "filter"), "get == 0 && (" + strings.Join(terms, " || ") + ")"},
		{filepath.Join(event, "enable"), "1"},
	} {
		if err := os.WriteFile(w[0], []byte(w[1]), 0o644); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	fd, err := syscall.Open(filepath.Join(dir, "trace_pipe"), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.pipe = os.NewFile(uintptr(fd), "trace_pipe") // the runtime polls it
	return t, nil
}

// Close ends the trace; a waiting Next returns an error.
func (t *Trace) Close() error {
	var err error
	if t.pipe != nil {
		err = t.pipe.Close()
	}
	return errors.Join(err, syscall.Rmdir(t.dir))
}

// Next waits for the next set, for at most limit: then the error is os.ErrDeadlineExceeded. Without a limit it waits until Close.
func (t *Trace) Next(limit time.Duration) (Set, error) {
	var deadline time.Time
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	if err := t.pipe.SetReadDeadline(deadline); err != nil {
		return Set{}, err
	}
	for {
		if s, ok, err := t.cut(); ok || err != nil {
			return s, err
		}
		buf := make([]byte, 4096)
		n, err := t.pipe.Read(buf)
		if n == 0 {
			return Set{}, err
		}
		t.rest = append(t.rest, buf[:n]...)
	}
}

// Drain returns the sets that were noted and not yet returned. It does not wait.
func (t *Trace) Drain() ([]Set, error) {
	raw, err := t.pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	for more := true; more; {
		buf := make([]byte, 4096)
		n, errno := 0, error(nil)
		if err := raw.Read(func(fd uintptr) bool { n, errno = syscall.Read(int(fd), buf); return true }); err != nil {
			return nil, err
		}
		if errno != nil && !errors.Is(errno, syscall.EAGAIN) {
			return nil, errno
		}
		more = n > 0
		t.rest = append(t.rest, buf[:max(n, 0)]...)
	}
	var all []Set
	for {
		s, ok, err := t.cut()
		if err != nil || !ok {
			return all, err
		}
		all = append(all, s)
	}
}

// cut takes the next set off what was read.
func (t *Trace) cut() (s Set, ok bool, err error) {
	i := bytes.IndexByte(t.rest, '\n')
	if i < 0 {
		return s, false, nil
	}
	line := string(t.rest[:i])
	t.rest = t.rest[i+1:]
	s, err = ParseSet(line)
	s.Line -= t.base
	return s, err == nil, err
}

// ParseSet reads a line of trace_pipe: `agentd-95  [000] .....  12.345678: gpio_value: 505 set 1`. Line is the kernel's number.
func ParseSet(line string) (Set, error) {
	head, event, found := strings.Cut(line, ": gpio_value: ")
	fields, said := strings.Fields(head), strings.Fields(event)
	if !found || len(fields) == 0 || len(said) != 3 || said[1] != "set" {
		return Set{}, fmt.Errorf("not a set: %q", line)
	}
	number, err := strconv.Atoi(said[0])
	if err != nil {
		return Set{}, fmt.Errorf("not a set: %q: %w", line, err)
	}
	at, err := time.ParseDuration(fields[len(fields)-1] + "s")
	if err != nil {
		return Set{}, fmt.Errorf("not a set: %q: %w", line, err)
	}
	return Set{Line: number, High: said[2] != "0", At: at}, nil
}
