package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// everyKind are 24 agents of all kinds, each of which looks at its device once a second. Those of sysfs read the trees of
// agents/testdata, exec runs a program, ping asks the host's own address; what has no device that a namespace could have is simulated.
const everyKind = `  hostsensor: {poll: 1s}
  processes: {agent: hostsensor, poll: 1s, processes: {init: {pid_file: PIDFILE}}}
  led: {agent: gpio, chip: sim, outputs: {led: {pin: 17}}}
  relay: {agent: gpio, chip: sim, outputs: {up: {pin: 5, max_on: 30s}, down: {pin: 6, max_on: 30s}}, interlocks: [[up, down]]}
  pir: {agent: gpio, chip: sim, inputs: {pir: {pin: 22, scan: 1s}}}
  button: {agent: gpio, chip: sim, inputs: {button: {pin: 27, pull: up, debounce: 5ms, scan: 1s}}}
  ads1115: {agent: ain, device: 1-0048, poll: 1s}
  ads1015: {agent: ain, device: 1-0049, poll: 1s}
  mcp3008: {agent: ain, device: mcp3008, poll: 1s, channels: {tank: {channel: voltage0, unit: "%", table: [{at: 0, is: 0}, {at: 3, is: 100}]}}}
  valve: {agent: dac, device: mcp4725, poll: 1s, outputs: {valve: {channel: voltage0, max: 3.29}}}
  fan: {agent: dac, sim: true, poll: 1s, outputs: {fan: {max: 3.3, slew: 1}}}
  cellar: {agent: dht22, model: dht11, device: dht11@4, poll: 1s}
  loft: {agent: dht22, model: dht11, sim: true, poll: 1s}
  cistern: {agent: sonar, driver: iio, poll: 1s}
  garage: {agent: sonar, sim: true, poll: 1s}
  probes: {agent: ds18b20, poll: 1s}
  boiler: {agent: ds18b20, driver: hwmon, poll: 1s}
  cpu: {poll: 1s}
  cores: {agent: cpu, sim: true, poll: 1s}
  display: {sim: true, poll: 1s}
  nut: {sim: true, poll: 1s}
  rack: {agent: nut, sim: true, poll: 1s}
  ping: {poll: 1s, timeout: 500ms, hosts: {self: {address: 127.0.0.1}}}
  exec: {command: [/bin/echo, "71.5"], output: value, poll: 1s, timeout: 500ms, values: {level: {type: float}}}
`

// everyTree are the trees of agents/testdata that the agents of everyKind read.
var everyTree = [...]string{"ain/ads1015", "ain/mcp3008", "dac/mcp4725", "dht22/two", "sonar/srf04", "ds18b20/new", "cpu/pi4"}

var iioNumber = regexp.MustCompile(`iio:device(\d+)`)

// everySysfs makes one tree of all: IIO devices, which are iio:device0 in each of them, get numbers of their own.
func everySysfs(b *testing.B) string {
	b.Helper()
	root, devices := b.TempDir(), 0
	made := func(err error) {
		b.Helper()
		if err != nil && !errors.Is(err, fs.ErrExist) { // two boards have the same zone
			b.Fatal(err)
		}
	}
	for _, name := range everyTree {
		archive, err := txtar.ParseFile(filepath.Join("..", "agents", "testdata", name+".txtar"))
		made(err)
		most := -1
		number := func(text string) string {
			return iioNumber.ReplaceAllStringFunc(text, func(is string) string {
				n, err := strconv.Atoi(strings.TrimPrefix(is, "iio:device"))
				made(err)
				most = max(most, n)
				return fmt.Sprintf("iio:device%d", n+devices)
			})
		}
		for _, f := range archive.Files {
			if f.Name == "links" {
				for line := range strings.Lines(string(f.Data)) {
					at, to, _ := strings.Cut(strings.TrimSpace(number(line)), " ")
					made(os.MkdirAll(filepath.Join(root, filepath.Dir(at)), 0o755))
					made(os.Symlink(to, filepath.Join(root, at)))
				}
				continue
			}
			path := filepath.Join(root, number(f.Name))
			made(os.MkdirAll(filepath.Dir(path), 0o755))
			made(os.WriteFile(path, f.Data, 0o644))
		}
		devices += most + 1
	}
	return filepath.Join(root, "sys")
}

// BenchmarkAgents measures what 24 agents cost in one agentd that each look at their device once a second (goal: 25 MB, 2 % of a
// core), with the programs that exec has run. A service that has something to say on its error topic makes it fail.
func BenchmarkAgents(b *testing.B) {
	Need(b, "mosquitto_sub")
	const agents = 24
	l := NewLAN(b, 1)
	pid := filepath.Join(l.dir, "one.pid")
	if err := os.WriteFile(pid, []byte("1\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	h := l.Boot(1, HostConfig{Agents: strings.Replace(everyKind, "PIDFILE", pid, 1)})
	h.Agentd.Stop() // it saw the machine's own sysfs
	script := fmt.Sprintf("sysctl -qw net.ipv4.ping_group_range='0 0' && mount -t tmpfs none /sys && cp -a %s/. /sys && exec %s/agentd --config %s",
		everySysfs(b), Binaries(b), h.File)
	h.Agentd = l.Start(1, true, "sh", "-c", script)
	<-time.After(10 * time.Second)
	out, errs, _ := l.Run(1, "mosquitto_sub", "-W", "2", "-v", "-t", "/pi1/+/status", "-t", "/pi1/+/error")
	if online := strings.Count(out, "/status online"); online != agents || strings.Contains(out, "/error") {
		b.Fatalf("%d of %d agents are online, or not all are well:\n%s%s", online, agents, out, errs)
	}
	for range b.N {
		const over = 20 * time.Second
		own, run := cpu(b, h.Agentd.Pid()), cpuChildren(b, h.Agentd.Pid())
		<-time.After(over)
		own, run = cpu(b, h.Agentd.Pid())-own, cpuChildren(b, h.Agentd.Pid())-run
		b.ReportMetric(100*own.Seconds()/over.Seconds(), "%cpu-agentd")
		b.ReportMetric(100*run.Seconds()/over.Seconds(), "%cpu-exec")
		b.ReportMetric(rss(b, h.Agentd.Pid()), "MB-agentd")
		b.ReportMetric(0, "ns/op")
	}
}

// cpuChildren returns the CPU time of the programs that the process has run and waited for, in hundredths of a second (proc(5),
// stat: cutime and cstime, fields 16 and 17).
func cpuChildren(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from field 3 on
	var ticks time.Duration
	for _, i := range []int{16 - 3, 17 - 3} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			b.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}
