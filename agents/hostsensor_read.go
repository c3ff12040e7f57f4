package agents

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"rollcall/reports"
)

// errHostsensorNoLine says that the kernel does not tell a number of /proc/meminfo.
var errHostsensorNoLine = errors.New("the kernel does not tell it")

// hostsensorUptime reads /proc/uptime: "350735.47 234388.90", seconds since boot first.
func hostsensorUptime(text string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(text, " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil || !(s >= 0 && s < math.MaxInt32*1000.0) { // NaN is neither
		return nil, fmt.Errorf("%.40q is not a number of seconds", first)
	}
	return int64(s), nil
}

// hostsensorMilli reads thousandths, as hwmon and thermal zones have them (Documentation/hwmon/sysfs-interface).
func hostsensorMilli(text string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%.40q is not a temperature in m°C", text)
	}
	return hostsensorRound(float64(n)/1000, 1), nil
}

// hostsensorRPM reads the turns a minute of a fan.
func hostsensorRPM(text string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%.40q is not a number of turns a minute", text)
	}
	return n, nil
}

// The bits of a Raspberry Pi's get_throttled ("vcgencmd get_throttled"); those since boot stand hostsensorSinceBoot higher.
var hostsensorThrottleBits = [...]struct {
	bit               int
	path, label, help string
}{
	{0, "under_voltage", "Under-voltage", "The supply is below 4.63 V"},
	{1, "frequency_capped", "Frequency capped", "The processor's clock is held down"},
	{2, "throttled", "Throttled", "The processor is slowed down, for heat or voltage"},
	{3, "soft_temp_limit", "Soft temperature limit", "The processor is warm enough for its clock to be lowered"},
}

const hostsensorSinceBoot = 16

// hostsensorThrottlePoints gives add the points of the throttling, each with its bit.
func hostsensorThrottlePoints(add func(p reports.Point, bit uint64)) {
	for _, b := range hostsensorThrottleBits {
		for _, since := range []struct {
			path, label string
			shift       int
		}{{"", "", 0}, {"_since_boot", " since boot", hostsensorSinceBoot}} {
			add(reports.Point{Path: "throttling/" + b.path + since.path, Label: b.label + since.label, Type: reports.Bool,
				Class: "problem", Genre: reports.System, Help: b.help}, 1<<(b.bit+since.shift))
		}
	}
}

// hostsensorThrottleFile returns the firmware's file, or "" on any other board. The folder is soc/soc:firmware up to the Pi 4 and
// soc@107c000000/soc@107c000000:firmware on the Pi 5.
func hostsensorThrottleFile(root string) string {
	found, err := filepath.Glob(filepath.Join(root, "sys/devices/platform/soc*/*firmware/get_throttled"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// hostsensorThrottled reads the bits: hexadecimal, without 0x in the kernel's file and with it in the firmware's own words.
func hostsensorThrottled(text string, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a hexadecimal number", text)
	}
	return bits, nil
}

// hostsensorShare returns part of whole in percent, 0 of nothing.
func hostsensorShare(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return hostsensorRound(100*float64(part)/float64(whole), 1)
}

func hostsensorRound(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// hostsensorWindow is the shortest time between two looks at a counter that makes a rate. A get that comes earlier is
// answered with the rate of the look before.
const hostsensorWindow = 500 * time.Millisecond

// hostsensorRate is a counter at a look, and the rate that was worked out then.
type hostsensorRate struct {
	at    time.Time
	count uint64
	value float64
	ok    bool
}

func (h *hostsensor) rate(path string, count uint64, at time.Time) (any, error) {
	was := h.rates[path]
	if was.at.IsZero() || at.Sub(was.at) >= hostsensorWindow {
		is := hostsensorRate{at: at, count: count, value: was.value}
		if delta, ok := hostsensorDelta(was.count, count); ok && !was.at.IsZero() {
			is.value, is.ok = math.Round(float64(delta)/at.Sub(was.at).Seconds()), true
		}
		h.rates[path], was = is, is
	}
	if !was.ok {
		return was.value, errHostsensorSoon
	}
	return was.value, nil
}

// hostsensorDelta returns how far a counter has gone. One that went back has wrapped at 32 bits, as those of 32-bit kernels
// do, if that means less than 1 GiB; else it was reset and there is no telling.
func hostsensorDelta(was, is uint64) (delta uint64, ok bool) {
	if is >= was {
		return is - was, true
	}
	wrapped := is + 1<<32 - was
	return wrapped, was <= math.MaxUint32 && wrapped < 1<<30
}

// hostsensorCPU is the processors' time at a look, and the share that was worked out then.
type hostsensorCPU struct {
	at          time.Time
	busy, total float64
	value       float64
	ok          bool
}

func (s *hostsensorScan) cpuUsed() (any, error) {
	st, err := s.stat()
	if err != nil {
		return nil, err
	}
	was := s.h.cpu
	if was.at.IsZero() || s.at.Sub(was.at) >= hostsensorWindow {
		is := hostsensorCPUAt(st.CPUTotal)
		is.at, is.value = s.at, was.value
		if d := is.total - was.total; d > 0 && !was.at.IsZero() {
			is.value, is.ok = hostsensorRound(100*max(0, min(1, (is.busy-was.busy)/d)), 1), true
		}
		s.h.cpu, was = is, is
	}
	if !was.ok {
		return was.value, errHostsensorSoon
	}
	return was.value, nil
}

// hostsensorCPUAt sums up a line of /proc/stat (proc(5)). The time of guests is part of user and nice already.
func hostsensorCPUAt(c procfs.CPUStat) hostsensorCPU {
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return hostsensorCPU{busy: busy, total: busy + c.Idle + c.Iowait}
}
