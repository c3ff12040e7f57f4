package pwm

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// kernel plays a PWM chip in memory, by the rules of drivers/pwm/sysfs.c and pwm_apply_state in core.c of Linux 6.1, and the
// document's rule that the polarity may only be changed while disabled, which drivers keep.
type kernel struct {
	t         *testing.T
	npwm      int
	shortest  uint64             // the least period
	straight  bool               // it cannot invert
	requested map[int]bool       // by drivers of the kernel
	channels  map[int]*state     // exported
	locked    map[string]bool    // by programs of ours
	refuse    func(string) error // what is in the way of a write, such as the rights
	late      func() bool        // the folder is not there yet

	mu  sync.Mutex
	log []string // the writes that were done
}

func newKernel(t *testing.T) *kernel {
	return &kernel{
		t: t, npwm: 2, shortest: 20, requested: map[int]bool{}, channels: map[int]*state{}, locked: map[string]bool{},
		refuse: func(string) error { return nil }, late: func() bool { return false },
	}
}

// file finds the channel that a path belongs to.
func (k *kernel) file(path string) (name string, s *state) {
	folder, name, ok := strings.Cut(path, "/")
	if !ok {
		return path, nil
	}
	channel, err := strconv.Atoi(strings.TrimPrefix(folder, "pwm"))
	if err != nil {
		k.t.Errorf("path %q", path)
	}
	if k.late() {
		return name, nil
	}
	return name, k.channels[channel]
}

func (k *kernel) read(path string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name, s := k.file(path)
	switch {
	case name == "npwm":
		return fmt.Sprintln(k.npwm), nil
	case s == nil:
		return "", missing(path)
	}
	text := map[string]string{
		"period": fmt.Sprintln(s.period), "duty_cycle": fmt.Sprintln(s.duty), "enable": "0\n", "polarity": "normal\n",
	}
	if s.enabled {
		text["enable"] = "1\n"
	}
	if s.inversed {
		text["polarity"] = "inversed\n"
	}
	return text[name], nil
}

func missing(path string) error { return &os.PathError{Op: "open", Path: path, Err: syscall.ENOENT} }

func (k *kernel) write(path, value string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse(path); err != nil {
		return err
	}
	name, s := k.file(path)
	var err error
	switch {
	case name == "export", name == "unexport":
		err = k.port(name, value)
	case s == nil:
		return missing(path)
	default:
		err = k.store(s, name, value)
	}
	if err == nil {
		k.log = append(k.log, path+" "+value)
	}
	return err
}

func (k *kernel) writable(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse(path); err != nil {
		return err
	}
	if _, s := k.file(path); s == nil {
		return missing(path)
	}
	return nil
}

// port is export and unexport.
func (k *kernel) port(name, value string) error {
	channel, err := strconv.Atoi(value)
	if err != nil || channel < 0 {
		return syscall.EINVAL
	}
	_, exported := k.channels[channel]
	switch {
	case channel >= k.npwm, name == "unexport" && !exported:
		return syscall.ENODEV
	case name == "unexport":
		delete(k.channels, channel)
	case exported, k.requested[channel]:
		return syscall.EBUSY
	default:
		k.channels[channel] = &state{}
	}
	return nil
}

// store is a write to a file of a channel.
func (k *kernel) store(s *state, name, value string) (err error) {
	next := *s
	switch name {
	case "period":
		next.period, err = strconv.ParseUint(value, 10, 64)
	case "duty_cycle":
		next.duty, err = strconv.ParseUint(value, 10, 64)
	case "enable":
		next.enabled, err = strconv.ParseBool(value)
	case "polarity":
		next.inversed = value == "inversed"
		if !next.inversed && value != "normal" {
			return syscall.EINVAL
		}
	default:
		return missing(name)
	}
	switch {
	case err != nil, next.period == 0, next.duty > next.period, next.period < k.shortest, next.inversed && k.straight:
		return syscall.EINVAL
	case s.enabled && next.inversed != s.inversed:
		return syscall.EBUSY
	}
	*s = next
	return nil
}

// unlocker gives a lock back.
type unlocker func()

func (u unlocker) Close() error { u(); return nil }

func (k *kernel) lock(path string) (io.Closer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locked[path] {
		return nil, syscall.EWOULDBLOCK
	}
	k.locked[path] = true
	return unlocker(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.locked, path)
	}), nil
}

// writes returns what was written since the last time.
func (k *kernel) writes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	log := k.log
	k.log = nil
	return log
}

// want checks what was written since the last time.
func (k *kernel) want(list ...string) {
	k.t.Helper()
	if got := k.writes(); !slices.Equal(got, list) {
		k.t.Errorf("writes %q, want %q", got, list)
	}
}

// open opens channel 1.
func (k *kernel) open(o Options) (*hardware, error) {
	h := &hardware{files: k, chip: 0, channel: 1}
	if err := h.open(o); err != nil {
		return nil, h.wrap("open", err)
	}
	return h, nil
}

func (k *kernel) mustOpen(o Options) *hardware {
	k.t.Helper()
	h, err := k.open(o)
	if err != nil {
		k.t.Fatal(err)
	}
	return h
}
