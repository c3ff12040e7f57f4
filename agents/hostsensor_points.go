package agents

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"rollcall/reports"
)

// hostsensorScan is one look at the kernel: each file is read when the first point needs it, and once.
type hostsensorScan struct {
	h       *hostsensor
	at      time.Time
	load    func() (*procfs.LoadAvg, error)
	stat    func() (procfs.Stat, error)
	memory  func() (procfs.Meminfo, error)
	mounts  func() ([]*procfs.MountInfo, error)
	network func() (procfs.NetDev, error)
	bits    func() (uint64, error)

	processes map[string]func() (hostsensorFound, error)
}

func (h *hostsensor) scan() *hostsensorScan {
	return &hostsensorScan{
		h: h, at: h.now(),
		load:    sync.OnceValues(h.fs.LoadAvg),
		stat:    sync.OnceValues(h.fs.Stat),
		memory:  sync.OnceValues(h.fs.Meminfo),
		mounts:  sync.OnceValues(h.fs.GetMounts),
		network: sync.OnceValues(h.fs.NetDev),
		bits: sync.OnceValues(func() (uint64, error) {
			return hostsensorThrottled(sensorFile(hostsensorThrottleFile(h.root)))
		}),
		processes: h.findOnce(),
	}
}

// add adds a point and what reads it.
func (h *hostsensor) add(p reports.Point, every reports.Duration, read hostsensorRead) {
	p.Access, p.Poll = reports.Get, every
	if p.Genre == "" {
		p.Genre = reports.User
	}
	switch {
	case p.Type != "":
	case p.Unit == "%":
		p.Type, p.Min, p.Max = reports.Float, reports.Ptr(0), reports.Ptr(100)
	case p.Unit == "B":
		p.Type, p.Min, p.Class = reports.Int, reports.Ptr(0), "data_size"
	case p.Unit == "B/s":
		p.Type, p.Min, p.Class = reports.Float, reports.Ptr(0), "data_rate"
	case p.Unit == "°C":
		p.Type, p.Class = reports.Float, "temperature"
	}
	h.points = append(h.points, p)
	h.reads[p.Path] = read
}

// find adds every point that the host has.
func (h *hostsensor) find(o hostsensorOptions, log *slog.Logger) error {
	h.addSystem(o.Poll)
	h.addMemory(o.Poll)
	mounts, err := h.fs.GetMounts()
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	h.addDisks(hostsensorDisks(mounts, o.Mounts.match), o.DiskPoll)
	dev, err := h.fs.NetDev()
	if err != nil {
		return fmt.Errorf("read interfaces: %w", err)
	}
	h.addNetwork(dev, o)
	h.addProbes(o.Poll, log)
	h.addThrottling(o.Poll)
	h.addProcesses(o.Processes, o.Poll)
	return nil
}

func (h *hostsensor) addSystem(every reports.Duration) {
	for _, l := range []struct {
		path, label, metric, janitoo string
		pick                         func(*procfs.LoadAvg) float64
	}{
		{"load/1m", "Load, 1 minute", "node_load1", "hostsensor.load/load[0]=1 minutes", func(l *procfs.LoadAvg) float64 { return l.Load1 }},
		{"load/5m", "Load, 5 minutes", "node_load5", "hostsensor.load/load[1]=5 minutes", func(l *procfs.LoadAvg) float64 { return l.Load5 }},
		{"load/15m", "Load, 15 minutes", "node_load15", "hostsensor.load/load[2]=15 minutes", func(l *procfs.LoadAvg) float64 { return l.Load15 }},
	} {
		h.add(reports.Point{Path: l.path, Label: l.label, Type: reports.Float, Min: reports.Ptr(0), Metric: l.metric, Janitoo: l.janitoo,
			Help: "Processes that run or wait, on average"}, every, func(s *hostsensorScan) (any, error) {
			load, err := s.load()
			if err != nil {
				return nil, err
			}
			return l.pick(load), nil
		})
	}
	h.add(reports.Point{Path: "cpu/used", Label: "CPU used", Unit: "%", Genre: reports.Basic,
		Help: "Share of all processors' time that was used since the last look"}, every, (*hostsensorScan).cpuUsed)
	h.add(reports.Point{Path: "uptime", Label: "Uptime", Type: reports.Int, Unit: "s", Class: "duration", Genre: reports.Basic,
		Janitoo: "hostsensor.uptime/uptime", Help: "Time since the kernel started"}, every, func(*hostsensorScan) (any, error) {
		return hostsensorUptime(sensorFile(filepath.Join(h.root, "proc/uptime")))
	})
	h.add(reports.Point{Path: "boot_time", Label: "Boot time", Type: reports.String, Class: "timestamp", Genre: reports.System,
		Help: "When the kernel started; moves when a clock without battery is set"}, every, func(s *hostsensorScan) (any, error) {
		st, err := s.stat()
		if err != nil {
			return nil, err
		}
		return time.Unix(int64(st.BootTime), 0).UTC().Format(time.RFC3339), nil
	})
	h.add(reports.Point{Path: "process/rss", Label: "Memory of this program", Unit: "B", Genre: reports.System,
		Help: "Resident memory of the process that runs this agent"}, every, func(*hostsensorScan) (any, error) {
		p, err := h.fs.Self()
		if err != nil {
			return nil, err
		}
		st, err := p.Stat()
		return int64(st.ResidentMemory()), err
	})
}

func (h *hostsensor) addMemory(every reports.Duration) {
	type mem = procfs.Meminfo
	total := func(m mem) *uint64 { return m.MemTotalBytes }
	available := func(m mem) *uint64 { return m.MemAvailableBytes }
	swap := func(m mem) *uint64 { return m.SwapTotalBytes }
	free := func(m mem) *uint64 { return m.SwapFreeBytes }
	amount := func(path, label, metric, help string, of func(mem) *uint64) {
		h.add(reports.Point{Path: path, Label: label, Help: help, Unit: "B", Metric: metric}, every, func(s *hostsensorScan) (any, error) {
			m, err := s.memory()
			if err != nil {
				return nil, err
			}
			if of(m) == nil {
				return nil, errHostsensorNoLine
			}
			return int64(*of(m)), nil
		})
	}
	share := func(path, label string, total, free func(mem) *uint64) {
		h.add(reports.Point{Path: path, Label: label, Unit: "%", Genre: reports.Basic}, every, func(s *hostsensorScan) (any, error) {
			m, err := s.memory()
			if err != nil {
				return nil, err
			}
			if total(m) == nil || free(m) == nil {
				return nil, errHostsensorNoLine
			}
			return hostsensorShare(*total(m)-min(*free(m), *total(m)), *total(m)), nil
		})
	}
	amount("memory/total", "Memory", "node_memory_MemTotal_bytes", "Memory that the kernel has", total)
	amount("memory/available", "Memory available", "node_memory_MemAvailable_bytes", "Memory that programs can get without swapping", available)
	share("memory/used_percent", "Memory used", total, available)
	amount("swap/total", "Swap", "node_memory_SwapTotal_bytes", "Swap space; 0 where there is none", swap)
	amount("swap/free", "Swap free", "node_memory_SwapFree_bytes", "Swap space that is free", free)
	share("swap/used_percent", "Swap used", swap, free)
}

func (h *hostsensor) addDisks(mounts []string, every reports.Duration) {
	seen := map[string]bool{}
	for i, mount := range mounts {
		base := "disk/" + reports.Unique(seen, hostsensorMountSegment(mount)) + "/"
		for _, p := range []struct {
			tail, label, unit, metric, janitoo string
			genre                              reports.Genre
			of                                 func(total, free, used uint64) any
		}{
			{"total", "Size of ", "B", "node_filesystem_size_bytes", "total", reports.User, func(total, _, _ uint64) any { return int64(total) }},
			{"free", "Free on ", "B", "node_filesystem_avail_bytes", "free", reports.User, func(_, free, _ uint64) any { return int64(free) }},
			{"used", "Used on ", "B", "", "used", reports.User, func(_, _, used uint64) any { return int64(used) }},
			{"used_percent", "Used of ", "%", "", "percent_use", reports.Basic, func(_, free, used uint64) any { return hostsensorShare(used, used+free) }},
		} {
			h.add(reports.Point{Path: base + p.tail, Label: p.label + mount, Unit: p.unit, Genre: p.genre, Metric: hostsensorMetric(p.metric, "mountpoint", mount),
				Janitoo: hostsensorAlias("disks/"+p.janitoo, i, mount), Help: "As df shows it: what is reserved for root counts as neither free nor used"},
				every, func(s *hostsensorScan) (any, error) {
					total, free, used, err := s.disk(mount)
					return p.of(total, free, used), err
				})
		}
	}
}

// disk returns the bytes of the file system at the mount point. That something is still mounted there is checked first:
// statfs of the bare folder would tell of the file system above it.
func (s *hostsensorScan) disk(mount string) (total, free, used uint64, err error) {
	mounts, err := s.mounts()
	if err != nil {
		return 0, 0, 0, err
	}
	if !slices.ContainsFunc(mounts, func(m *procfs.MountInfo) bool { return hostsensorUnescape(m.MountPoint) == mount }) {
		return 0, 0, 0, fmt.Errorf("nothing is mounted on %s any more", mount)
	}
	var st unix.Statfs_t
	if err := s.h.statfs(filepath.Join(s.h.root, mount), &st); err != nil {
		return 0, 0, 0, fmt.Errorf("statfs %s: %w", mount, err)
	}
	size := uint64(st.Bsize)
	return st.Blocks * size, st.Bavail * size, (st.Blocks - min(st.Bfree, st.Blocks)) * size, nil
}

func (h *hostsensor) addNetwork(dev procfs.NetDev, o hostsensorOptions) {
	seen := map[string]bool{}
	names := make([]string, 0, len(dev))
	for name := range dev {
		if o.Interfaces.match(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		base := "network/" + reports.Unique(seen, hostsensorSegment(name)) + "/"
		for _, p := range []struct {
			tail, label string
			of          func(procfs.NetDevLine) uint64
		}{
			{"rx_rate", " received", func(l procfs.NetDevLine) uint64 { return l.RxBytes }},
			{"tx_rate", " sent", func(l procfs.NetDevLine) uint64 { return l.TxBytes }},
		} {
			path := base + p.tail
			h.add(reports.Point{Path: path, Label: name + p.label, Unit: "B/s", Genre: reports.Basic,
				Help: "Mean since the last look"}, o.Poll, func(s *hostsensorScan) (any, error) {
				lines, err := s.network()
				if err != nil {
					return nil, err
				}
				line, ok := lines[name]
				if !ok {
					delete(h.rates, path) // its counters start anew when it comes back
					return nil, fmt.Errorf("interface %s is gone", name)
				}
				return h.rate(path, p.of(line), s.at)
			})
		}
	}
}

// addProbes adds the temperatures and fans of hwmon and the thermal zones that hwmon does not show.
func (h *hostsensor) addProbes(every reports.Duration, log *slog.Logger) {
	seen, found := map[string]bool{}, map[string]int{}
	for _, p := range hostsensorProbes(h.root, log) {
		path := reports.Unique(seen, p.branch+"/"+hostsensorSegment(p.name))
		point := reports.Point{Path: path, Label: p.label, Unit: p.unit, Genre: reports.Basic, Help: p.help}
		switch p.unit {
		case "rpm":
			point.Type, point.Min = reports.Int, reports.Ptr(0)
		case "°C":
			point.Janitoo = hostsensorAlias("lmsensor/temperature", found[p.unit], p.name)
			found[p.unit]++
		}
		h.add(point, every, func(*hostsensorScan) (any, error) { return p.parse(sensorFile(p.file)) })
	}
}

func (h *hostsensor) addThrottling(every reports.Duration) {
	if hostsensorThrottleFile(h.root) == "" {
		return
	}
	hostsensorThrottlePoints(func(p reports.Point, bit uint64) {
		h.add(p, every, func(s *hostsensorScan) (any, error) {
			bits, err := s.bits()
			return bits&bit != 0, err
		})
	})
}

// hostsensorAlias returns what Janitoo calls one of several points, or "" where it has no more names.
func hostsensorAlias(value string, index int, config string) string {
	alias := fmt.Sprintf("hostsensor.%s[%d]=%s", value, index, config)
	if _, err := reports.ParseAlias(alias); err != nil {
		return ""
	}
	return alias
}

// hostsensorMetric returns the name of a metric with a label, or "" where there is none or the label has what no description takes.
func hostsensorMetric(name, label, value string) string {
	if name == "" || strings.ContainsAny(value, "\"\\\n,") {
		return ""
	}
	return name + "{" + label + `="` + value + `"}`
}
