package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"rollcall/config"
	"rollcall/reports"
)

// The hostsensor agent reports on the host itself: what it does, how full it is and how warm, from /proc, /sys and statfs. It
// runs no program and needs no right that a plain user has not.
//
// The points are found when the agent starts. A mount or an interface that goes away fails alone, and works again once it is
// back; one that comes later is seen at the next start. Network file systems are left out, because statfs of a server that
// is gone never returns.

func hostsensorFactory() Factory {
	return Factory{
		Name:    "hostsensor",
		Doc:     "Load, memory, disks, network, temperatures, fans, throttling and chosen processes of the host.",
		Wiring:  hostsensorWiring,
		Example: "poll: 10s\ndisk_poll: 1m\nmounts: {exclude: [/boot/firmware]}\n",
		Defaults: func() Options {
			return &hostsensorOptions{
				Poll:       reports.Duration(10 * time.Second),
				DiskPoll:   reports.Duration(time.Minute),
				Interfaces: hostsensorGlobs{Exclude: []string{"lo", "veth*", "docker*", "br-*", "virbr*"}},
			}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*hostsensorOptions)
			if !ok {
				return nil, fmt.Errorf("hostsensor: options are a %T", o)
			}
			return newHostsensor(*opts, d, hostsensorSeam{unix.Statfs, time.Now})
		},
	}
}

// hostsensorWiring is Factory.Wiring.
const hostsensorWiring = `Nothing is connected: everything is read from /proc and /sys, and what the machine does not have is left out. Throttling is
of a Raspberry Pi.

A process in ` + "`processes`" + ` is the one whose number its ` + "`pid_file`" + ` holds, as most daemons write it below /run; the service's user must
be allowed to read that file. With ` + "`command`" + ` another process that was given the number of a dead one is not taken for it. Open files of
another user's process can be counted by root only. While the process does not run, ` + "`running`" + ` is OFF and the rest has no value.`

// hostsensorOptions are the options of the hostsensor agent.
type hostsensorOptions struct {
	Poll       reports.Duration `yaml:"poll" doc:"how often everything but the disks is read"`
	DiskPoll   reports.Duration `yaml:"disk_poll" doc:"how often the disks are read"`
	Mounts     hostsensorGlobs  `yaml:"mounts" doc:"mount points to report, of those with a local file system"`
	Interfaces hostsensorGlobs  `yaml:"interfaces" doc:"network interfaces to report"`

	Processes map[string]hostsensorProcess `yaml:"processes" doc:"processes to report, by the name that their points are to have"`
}

// hostsensorGlobs choose names by patterns as path.Match has them.
type hostsensorGlobs struct {
	Include []string `yaml:"include" doc:"patterns of what is reported; empty: all"`
	Exclude []string `yaml:"exclude" doc:"patterns of what is left out of that"`
}

// hostsensorLeastPoll keeps the agent itself from being the load that it reports.
const hostsensorLeastPoll = time.Second

// Validate checks the intervals and the patterns.
func (o *hostsensorOptions) Validate() error {
	for _, p := range []struct {
		key   string
		every reports.Duration
	}{{"poll", o.Poll}, {"disk_poll", o.DiskPoll}} {
		if time.Duration(p.every) < hostsensorLeastPoll {
			return config.At(p.key, "%s is too often, at least %s is needed", p.every, hostsensorLeastPoll)
		}
	}
	for _, p := range []struct {
		key   string
		globs []string
	}{{"mounts.include", o.Mounts.Include}, {"mounts.exclude", o.Mounts.Exclude},
		{"interfaces.include", o.Interfaces.Include}, {"interfaces.exclude", o.Interfaces.Exclude}} {
		for _, g := range p.globs {
			if _, err := path.Match(g, ""); err != nil {
				return config.At(p.key, "%q is not a pattern: %w", g, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Processes)) {
		if err := o.Processes[name].validate("processes."+name, name); err != nil {
			return err
		}
	}
	return nil
}

// match reports whether the name is wanted.
func (g hostsensorGlobs) match(name string) bool {
	in := func(globs []string) bool {
		return slices.ContainsFunc(globs, func(glob string) bool {
			ok, err := path.Match(glob, name)
			return err == nil && ok
		})
	}
	return (len(g.Include) == 0 || in(g.Include)) && !in(g.Exclude)
}

// hostsensorSeam is what stands between the agent and the running kernel beside the files below its root.
type hostsensorSeam struct {
	statfs func(path string, st *unix.Statfs_t) error
	now    func() time.Time
}

type hostsensor struct {
	hostsensorSeam
	root   string
	fs     procfs.FS
	points []reports.Point
	reads  map[string]hostsensorRead
	rates  map[string]hostsensorRate // by path; the counters at the last look
	cpu    hostsensorCPU             // the same for the processors

	finds   map[string]func() (hostsensorFound, error) // the processes by their names
	started map[string]hostsensorStart                 // whose counters those of the rates are, by path
}

// hostsensorRead reads one point.
type hostsensorRead func(*hostsensorScan) (any, error)

// errHostsensorSoon comes with the last value of a rate that has no new one, since it takes two looks at a counter. It is not
// a failure: the reading is stale, and the runner does not publish it.
var errHostsensorSoon = errors.New("no value yet")

func newHostsensor(o hostsensorOptions, d Deps, seam hostsensorSeam) (*hostsensor, error) {
	root, log := filepath.Join("/", d.Root), d.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	fs, err := procfs.NewFS(filepath.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	h := &hostsensor{hostsensorSeam: seam, root: root, fs: fs,
		reads: map[string]hostsensorRead{}, rates: map[string]hostsensorRate{},
		finds: map[string]func() (hostsensorFound, error){}, started: map[string]hostsensorStart{}}
	if err := h.find(o, log); err != nil {
		return nil, err
	}
	// The first look at the counters, so that the first poll has something to compare with. What can't be read now fails
	// again, and is reported, when it is sampled.
	_, _ = h.SampleAll(context.Background(), h.counters())
	return h, nil
}

// Describe returns the points that were found at the start.
func (h *hostsensor) Describe() reports.Service {
	return reports.Service{Function: "hostsensor", Points: slices.Clone(h.points)}
}

// LeastPoll returns the shortest poll.
func (h *hostsensor) LeastPoll(string) time.Duration { return hostsensorLeastPoll }

// Close does nothing: the agent holds nothing open.
func (h *hostsensor) Close() error { return nil }

// Sample reads one point.
func (h *hostsensor) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	return h.sample(h.scan(), path)
}

// SampleAll reads the points with one look at each file of the kernel.
func (h *hostsensor) SampleAll(ctx context.Context, paths []string) ([]reports.Reading, error) {
	s := h.scan()
	out := make([]reports.Reading, 0, len(paths))
	var errs []error
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return out, errors.Join(append(errs, err)...)
		}
		r, err := h.sample(s, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}

func (h *hostsensor) sample(s *hostsensorScan, path string) (reports.Reading, error) {
	read, ok := h.reads[path]
	if !ok {
		return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%s: no such point", path)
	}
	v, err := read(s)
	stale := errors.Is(err, errHostsensorSoon)
	if err != nil && !stale {
		return reports.Reading{}, fmt.Errorf("%s: %w", path, err)
	}
	return reports.Reading{Path: path, Value: v, Unit: h.unit(path), Time: s.at, Stale: stale}, nil
}

func (h *hostsensor) unit(path string) string {
	i := slices.IndexFunc(h.points, func(p reports.Point) bool { return p.Path == path })
	return h.points[i].Unit
}

// counters returns the paths of the points that are rates.
func (h *hostsensor) counters() []string {
	var out []string
	for _, p := range h.points {
		if p.Path == "cpu/used" || strings.HasSuffix(p.Path, "x_rate") || strings.HasSuffix(p.Path, "/"+hostsensorCPUTail) {
			out = append(out, p.Path)
		}
	}
	return out
}
