package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/gpio"
	"rollcall/reports"
)

// sensor is what agents that mostly read are made of: their points, each with what reads it. One that is made up, because
// `sim: true` asked for it in words, says so in its description and in a state.
type sensor struct {
	service reports.Service
	reads   map[string]sensorRead
	closing func() error  // nil: nothing is to be closed
	least   time.Duration // that points can be polled at; 0: any
}

// LeastPoll returns the shortest poll.
func (s *sensor) LeastPoll(string) time.Duration { return s.least }

// sensorRead reads one point. Its error says why, without the path.
type sensorRead func(context.Context) (any, error)

// newSensor returns a sensor without points.
func newSensor(function string, simulated bool) *sensor {
	s := &sensor{service: reports.Service{Function: function, Simulated: simulated}, reads: map[string]sensorRead{}}
	if simulated {
		s.add(simulatedPoint(), func(context.Context) (any, error) { return true, nil })
	}
	return s
}

// simulatedPath is where a service that is made up says so in a state.
const simulatedPath = "simulated"

// simulatedPoint is that state, which is always true.
func simulatedPoint() reports.Point {
	return reports.Point{Path: simulatedPath, Label: "Simulated", Help: "there is no hardware behind this service: its options ask for that in words (sim)",
		Type: reports.Bool, Access: reports.Get, Genre: reports.System, Poll: reports.Duration(time.Hour)}
}

// add adds a point that read reads.
func (s *sensor) add(p reports.Point, read sensorRead) {
	if p.Access == 0 {
		p.Access = reports.Get
	}
	s.service.Points = append(s.service.Points, p)
	s.reads[p.Path] = read
}

// Describe returns the points.
func (s *sensor) Describe() reports.Service {
	out := s.service
	out.Points = slices.Clone(out.Points)
	return out
}

// Sample reads one point.
func (s *sensor) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	read, ok := s.reads[path]
	if !ok {
		return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%s: no such point", path)
	}
	v, err := read(ctx)
	if err != nil {
		return reports.Reading{}, fmt.Errorf("%s: %w", path, err)
	}
	return reports.Reading{Path: path, Value: v}, nil
}

// Close closes what is open.
func (s *sensor) Close() error {
	if s.closing == nil {
		return nil
	}
	return s.closing()
}

// simulatedWave is the made-up value of a float point: a sine between lo and hi that depends on nothing but the time.
func simulatedWave(lo, hi float64, period time.Duration, now func() time.Time) sensorRead {
	return func(context.Context) (any, error) {
		at := now().UnixNano() % int64(period)
		turn := 2 * math.Pi * float64(at) / float64(period)
		return lo + (hi-lo)*(1+math.Sin(turn))/2, nil
	}
}

// sensorWire is a line that an agent wants.
type sensorWire struct {
	key, pin string // what errors call it, "" if it is the only one; its name in the options
	options  gpio.LineOptions
	line     *gpio.Line // where to put it
}

// sensorWires opens the GPIO chip that an option names, or that of the board's header, and requests all the lines or none.
func sensorWires(d Deps, name string, wires ...sensorWire) (gpio.Chip, error) {
	chip, err := sensorOpenChip(d, name)
	if err != nil {
		return nil, err
	}
	info, err := chip.Info()
	for i := 0; err == nil && i < len(wires); i++ {
		w := wires[i]
		if *w.line, err = w.request(d, chip, info); err != nil && w.key != "" {
			err = fmt.Errorf("%s: %w", w.key, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, chip.Close())
	}
	return chip, nil
}

func (w sensorWire) request(d Deps, chip gpio.Chip, info gpio.ChipInfo) (gpio.Line, error) {
	offset, err := info.Find(w.pin)
	if err != nil {
		return nil, err
	}
	o := w.options
	o.Consumer = "rollcall-" + d.Service
	return chip.Request(offset, o)
}

func sensorOpenChip(d Deps, name string) (gpio.Chip, error) {
	open := d.OpenChip
	switch {
	case open == nil && name != "":
		return gpio.Open(name)
	case open == nil:
		chip, _, err := gpio.OpenHeader()
		return chip, err
	case name != "":
		return open(name)
	}
	var errs []error
	for _, label := range gpio.HeaderLabels() {
		chip, err := open(label)
		if err == nil {
			return chip, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no chip is named and there is none of a Raspberry Pi's header: %w", errors.Join(errs...))
}

// sensorWait waits for a time, or until ctx ends.
func sensorWait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sensorFileMost is how many bytes a file of /sys or /proc that holds a value may have: the kernel gives no more than a page.
const sensorFileMost = 4096

// sensorInterrupted is how often a read is begun again that a signal has interrupted: w1_therm then returns EINTR from the middle of
// a conversion, and the Go runtime sends its threads signals.
const sensorInterrupted = 3

// sensorFile reads a small file, as those of /proc and /sys are, without the white space around what it holds. It holds nobody up:
// what is no regular file, such as a pipe that nobody writes, is an error. It does not go through os: some drivers answer EAGAIN, which
// the poller of package os would wait on for ever, and to tell the poller of each file costs more than to read it.
func sensorFile(name string) (string, error) {
	fd, err := sensorOpen(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) // read only: nothing can be lost
	var buf [sensorFileMost + 1]byte
	n, err := unix.Read(fd, buf[:])
	for tries := 1; err == unix.EINTR && tries <= sensorInterrupted; tries++ {
		n, err = unix.Read(fd, buf[:])
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", name, err)
	case n > sensorFileMost:
		return "", fmt.Errorf("read %s: it is longer than %d bytes", name, sensorFileMost)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// sensorWrite writes a value to a file that there is. It makes none: that is what sysfs forbids, instead of saying that there is none.
func sensorWrite(name, value string) error {
	fd, err := sensorOpen(name, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(value))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// sensorOpen opens a regular file.
func sensorOpen(name string, flags int) (int, error) {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", name, err)
	}
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || is.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errors.Join(fmt.Errorf("open %s: %w", name, cmp.Or(err, errSensorNoFile)), unix.Close(fd))
	}
	return fd, nil
}

var errSensorNoFile = errors.New("it is not a regular file")
