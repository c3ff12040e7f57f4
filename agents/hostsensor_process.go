package agents

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/procfs"

	"rollcall/config"
	"rollcall/reports"
)

// hostsensorProcess is a process to report, in the options.
type hostsensorProcess struct {
	PIDFile string `yaml:"pid_file" doc:"absolute path of the file that holds its number, such as /run/mosquitto.pid"`
	Command string `yaml:"command" doc:"what the kernel must call it (/proc/N/comm), so that another process that was given the number of a dead one is not taken for it"`
}

// hostsensorCommMost is how long a command's name in /proc is (proc(5), /proc/pid/comm: TASK_COMM_LEN without its NUL).
const hostsensorCommMost = 15

func (p hostsensorProcess) validate(at, name string) error {
	if err := reports.ValidName(name); err != nil {
		return config.At(at, "%w", err)
	}
	if !filepath.IsAbs(p.PIDFile) {
		return config.At(at+".pid_file", "%.100q is not an absolute path", p.PIDFile)
	}
	if len(p.Command) > hostsensorCommMost {
		return config.At(at+".command", "%.40q is longer than the %d characters that the kernel keeps: %q", p.Command, hostsensorCommMost, p.Command[:hostsensorCommMost])
	}
	return nil
}

// errHostsensorNotRunning is why the points of a process have no value.
var errHostsensorNotRunning = errors.New("the process is not running")

// hostsensorFound is a process in one look at the kernel.
type hostsensorFound struct {
	proc procfs.Proc
	stat procfs.ProcStat
}

// process finds the process that a pid file names now.
func (h *hostsensor) process(p hostsensorProcess) (hostsensorFound, error) {
	pid, err := hostsensorPID(sensorFile(filepath.Join(h.root, p.PIDFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return hostsensorFound{}, fmt.Errorf("%w: %w", errHostsensorNotRunning, err)
	}
	if err != nil {
		return hostsensorFound{}, fmt.Errorf("%s: %w", p.PIDFile, err)
	}
	proc, err := h.fs.Proc(pid)
	if err != nil {
		return hostsensorFound{}, fmt.Errorf("%w: %s has %d, which is no process", errHostsensorNotRunning, p.PIDFile, pid)
	}
	stat, err := proc.Stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hostsensorFound{}, fmt.Errorf("%w: process %d has just ended", errHostsensorNotRunning, pid)
	case err != nil:
		return hostsensorFound{}, err
	case stat.State == "Z" || stat.State == "X":
		return hostsensorFound{}, fmt.Errorf("%w: process %d has ended, and its parent has not asked for its status", errHostsensorNotRunning, pid)
	case p.Command != "" && stat.Comm != p.Command:
		return hostsensorFound{}, fmt.Errorf("%w: %s has %d, which is %.20q, not %q", errHostsensorNotRunning, p.PIDFile, pid, stat.Comm, p.Command)
	}
	return hostsensorFound{proc, stat}, nil
}

// hostsensorPID reads a pid file: the number in its first line.
func hostsensorPID(text string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(text, "\n")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.40q is not the number of a process", line)
	}
	return int(n), nil
}

// addProcesses adds the points of the processes in the options. They are there whether the process runs or not.
func (h *hostsensor) addProcesses(processes map[string]hostsensorProcess, every reports.Duration) {
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		p, base := processes[name], "processes/"+name+"/"
		h.finds[name] = func() (hostsensorFound, error) { return h.process(p) }
		add := func(tail string, point reports.Point, of func(*hostsensorScan, hostsensorFound) (any, error)) {
			point.Path = base + tail
			h.add(point, every, func(s *hostsensorScan) (any, error) {
				found, err := s.processes[name]()
				if err != nil {
					return nil, err
				}
				return of(s, found)
			})
		}
		h.add(reports.Point{Path: base + "running", Label: name + " runs", Help: "Whether the process of " + p.PIDFile + " is there", Type: reports.Bool,
			Class: "running", Genre: reports.Basic}, every, func(s *hostsensorScan) (any, error) {
			_, err := s.processes[name]()
			if errors.Is(err, errHostsensorNotRunning) {
				return false, nil
			}
			return err == nil, err
		})
		add("memory", reports.Point{Label: name + " memory", Help: "Resident memory", Unit: "B"},
			func(_ *hostsensorScan, f hostsensorFound) (any, error) { return int64(f.stat.ResidentMemory()), nil })
		add(hostsensorCPUTail, reports.Point{Label: name + " CPU", Help: "Processor time since the last look in percent of one processor: two that are busy are 200",
			Type: reports.Float, Unit: "%", Min: reports.Ptr(0)},
			func(s *hostsensorScan, f hostsensorFound) (any, error) {
				return h.processCPU(s, base+hostsensorCPUTail, f)
			})
		add("threads", reports.Point{Label: name + " threads", Type: reports.Int, Min: reports.Ptr(0)},
			func(_ *hostsensorScan, f hostsensorFound) (any, error) { return int64(f.stat.NumThreads), nil })
		add("fds", reports.Point{Label: name + " open files", Help: "File descriptors; of another user's process only root may count them", Type: reports.Int, Min: reports.Ptr(0)},
			func(_ *hostsensorScan, f hostsensorFound) (any, error) {
				n, err := f.proc.FileDescriptorsLen()
				if errors.Is(err, fs.ErrPermission) {
					return nil, fmt.Errorf("%w (only the user of the process and root may count its open files)", err)
				}
				return int64(n), err
			})
	}
}

const hostsensorCPUTail = "cpu_percent"

// processCPU returns the share of a processor. Times are in hundredths of a second (proc(5), utime and stime; USER_HZ is 100 on
// every kind of machine that Linux runs on but Alpha), so ticks per second are percent; the rate is of tenths of them.
func (h *hostsensor) processCPU(s *hostsensorScan, path string, f hostsensorFound) (any, error) {
	if id := (hostsensorStart{f.stat.PID, f.stat.Starttime}); h.started[path] != id {
		delete(h.rates, path) // another process: its time began at 0
		h.started[path] = id
	}
	v, err := h.rate(path, 10*uint64(f.stat.UTime+f.stat.STime), s.at)
	if tenths, ok := v.(float64); ok {
		return tenths / 10, err
	}
	return v, err
}

// hostsensorStart tells a process from another one that was given its number.
type hostsensorStart struct {
	pid   int
	start uint64
}

// findOnce returns what finds each process once in a look.
func (h *hostsensor) findOnce() map[string]func() (hostsensorFound, error) {
	if len(h.finds) == 0 {
		return nil
	}
	out := make(map[string]func() (hostsensorFound, error), len(h.finds))
	for name, find := range h.finds {
		out[name] = sync.OnceValues(find)
	}
	return out
}
