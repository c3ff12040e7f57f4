package agents

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// plugged is a host whose agents all have a device that can be unplugged.
type plugged struct {
	t     *testing.T
	trees map[string]iioTree // by the kind of agent
	file  string             // what exec prints

	mu      sync.Mutex
	bank    *gpiotest.Chip // that of gpio
	display *tm1638Chip
	sonar   *sonarSensor
	upsd    net.Listener
	conns   []net.Conn
	address string
	serving sync.WaitGroup
	down    atomic.Bool // the network, for ping
}

func newPlugged(t *testing.T) *plugged {
	p := &plugged{t: t, trees: map[string]iioTree{}, file: filepath.Join(t.TempDir(), "level"), bank: gpiotest.New("bank", 28), address: "127.0.0.1:0"}
	for kind, tree := range map[string]string{"ain": "ain/ads1015", "dac": "dac/mcp4725", "dht22": "dht22/two", "ds18b20": "ds18b20/new",
		"cpu": "cpu/pi4", "hostsensor": "hostsensor_pi4"} {
		p.trees[kind] = newIIOTree(t, tree)
	}
	p.display, _ = newTM1638Chip(t)
	p.sonar = &sonarSensor{chip: gpiotest.New("sonar", 28), echoes: []time.Duration{6 * time.Millisecond}}
	p.sonar.plug(t)
	p.move("", p.file)
	p.listen()
	t.Cleanup(func() { p.hangUp(); p.serving.Wait() })
	return p
}

// move makes a file whose name begins to be another's, or a new one.
func (p *plugged) move(from, to string) {
	p.t.Helper()
	var err error
	if from == "" {
		err = os.WriteFile(to, []byte("71.5\n"), 0o600)
	} else {
		err = os.Rename(from, to)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// listen makes upsd answer, at the address that it had.
func (p *plugged) listen() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upsd, p.address = l, l.Addr().String()
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			p.serving.Go(func() { new(nutPeer).serve(conn, nil, nutPlays) })
		}
	})
}

// hangUp ends upsd with its connections.
func (p *plugged) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.upsd.Close() // it may be closed
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// factories are those of All on the devices of p. Only ping has none of its own: what it would ask the kernel is played.
func (p *plugged) factories() []Factory {
	factories := All()
	for i, f := range factories {
		factories[i].New = func(o Options, d Deps) (Agent, error) {
			if tree, ok := p.trees[f.Name]; ok {
				d.Root = tree.root
			}
			if o, ok := o.(*pingOptions); ok {
				return newPing(*o, pingFake(p.echo))
			}
			return f.New(o, d)
		}
	}
	return factories
}

func (p *plugged) echo(context.Context, pingHost) (time.Duration, error) {
	if p.down.Load() {
		return 0, errors.New("network is down")
	}
	return time.Millisecond, nil
}

func (p *plugged) openChip(name string) (gpio.Chip, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case "display":
		return tm1638Bank{p.display.board.Open(), p.display.board}, nil
	case "sonar":
		return punctual{p.sonar.chip.Open()}, nil
	}
	return p.bank.Open(), nil
}

// punctual is the chip of a sensor whose echo always takes 6 ms by the kernel's clock, however late the test's timers are.
type punctual struct{ gpio.Chip }

func (c punctual) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	if told := o.Events; told != nil {
		var rise time.Duration
		o.Events = func(e gpio.Event) {
			if e.Rising {
				rise = e.Time
			} else {
				e.Time = rise + 6*time.Millisecond
			}
			told(e)
		}
	}
	return c.Chip.Request(offset, o)
}

// rename returns what takes a file of a tree away, and what puts it back.
func (p *plugged) rename(kind, name string) (unplug, plug func()) {
	away := "away/" + filepath.Base(name) // elsewhere, since a device may come back under another number
	return func() { p.trees[kind].rename(name, away) }, func() { p.trees[kind].rename(away, name) }
}

// unplugged is a device, what of its service dies with it, and how.
type unplugged struct {
	kind, options string
	dead          []string // points
	how           func(p *plugged) (unplug, plug func())
}

const unpluggedIIO = "sys/bus/iio/devices/iio:device0"

func unpluggedDevices() []unplugged {
	file := func(kind, name string) func(*plugged) (unplug, plug func()) {
		return func(p *plugged) (unplug, plug func()) { return p.rename(kind, name) }
	}
	return []unplugged{
		{"ain", "device: 1-0048, poll: 1s", []string{"voltage0/raw", "voltage0/volts"}, file("ain", unpluggedIIO)},
		{"cpu", "poll: 1s", []string{"temperature"}, file("cpu", "sys/class/thermal/thermal_zone0")},
		{"dac", "device: mcp4725, poll: 1s, outputs: {voltage0: {max: 3.29}}", []string{"voltage0/volts", "voltage0/percent"}, file("dac", unpluggedIIO)},
		{"dht22", "device: dht11@4, model: dht11, poll: 1s", []string{"temperature", "humidity", "dew_point"}, file("dht22", unpluggedIIO)},
		{"display", "chip: display, stb: 17, clk: GPIO27, dio: pin15, scan: 1s, poll: 1s", []string{"led0", "led7"},
			func(p *plugged) (unplug, plug func()) {
				return func() { p.display.power(false) }, func() { p.display.power(true) }
			}},
		{"ds18b20", "poll: 1s", []string{"temperature/28-000005e2fdc3"}, file("ds18b20", "sys/bus/w1/devices/28-000005e2fdc3")},
		{"exec", "command: [/bin/cat, FILE], output: value, values: {level: {}}, poll: 1s, timeout: 800ms", []string{"level"},
			func(p *plugged) (unplug, plug func()) {
				return func() { p.move(p.file, p.file+".away") }, func() { p.move(p.file+".away", p.file) }
			}},
		{"gpio", "chip: bank, inputs: {door: {pin: 22, pull: up, scan: 1s}}", []string{"input/door"},
			func(p *plugged) (unplug, plug func()) {
				return p.bank.Unplug, func() {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.bank = gpiotest.New("bank", 28)
				}
			}},
		{"hostsensor", "poll: 1s, disk_poll: 1s, mounts: {exclude: [/, /boot/firmware]}", []string{"load/1m"}, file("hostsensor", "proc/loadavg")},
		{"nut", "address: \"UPSD\", poll: 1s", []string{"ups/status"}, func(p *plugged) (unplug, plug func()) { return p.hangUp, p.listen }},
		{"ping", "poll: 1s, timeout: 500ms, hosts: {router: {address: 192.0.2.1}}", []string{"router/reachable", "router/round_trip"},
			func(p *plugged) (unplug, plug func()) {
				return func() { p.down.Store(true) }, func() { p.down.Store(false) }
			}},
		{"sonar", "chip: sonar, trigger: GPIO23, echo: GPIO24, samples: 1, poll: 1s", []string{"distance", "echo"},
			func(p *plugged) (unplug, plug func()) {
				hold := func(level int, echo time.Duration) func() {
					return func() { p.sonar.say(echo); p.sonar.chip.Drive(24, level) }
				}
				return hold(1, -1), hold(0, 6*time.Millisecond)
			}},
	}
}

// unpluggedHosts is how many hosts share the devices that are unplugged. One after the other would take too long, and all at once would
// leave none that must go on.
const unpluggedHosts = 3

// TestUnplugged runs every agent in one runner on a real broker, and unplugs the devices of some: their services say so, are offline or
// their values are taken back, none of them comes as fresh, all others go on, and with the device each is back by itself. There are some
// such hosts; they go through it side by side, since most of the time is waiting.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	devices := unpluggedDevices()
	if len(devices) != len(All()) {
		t.Fatalf("%d devices, but there are %d agents", len(devices), len(All()))
	}
	var hosts [unpluggedHosts]*unpluggedHost
	for i := range hosts {
		hosts[i] = newUnpluggedHost(t, devices, i)
	}
	for _, h := range hosts {
		for _, d := range devices {
			h.wantAlive(d)
		}
	}
	for _, phase := range []func(*unpluggedHost, *unpluggedDevice){
		func(_ *unpluggedHost, d *unpluggedDevice) { d.unplug() },
		func(h *unpluggedHost, d *unpluggedDevice) {
			h.until(d.kind+" tells that it has no device", func() bool { return string(h.last["/h/"+d.kind+"/error"].Payload) != "" })
			d.told = len(h.everything())
		},
		func(h *unpluggedHost, d *unpluggedDevice) {
			h.until(d.kind+" is offline or its values are taken back", func() bool { return h.isDead(d) })
		},
		func(h *unpluggedHost, d *unpluggedDevice) {
			for _, kind := range h.others {
				h.wantAnswer(kind)
			}
			h.wantNothingFresh(d)
		},
		func(_ *unpluggedHost, d *unpluggedDevice) { d.plug() },
		func(h *unpluggedHost, d *unpluggedDevice) {
			h.wantAlive(d.unplugged)
			h.wantAnswer(d.kind)
		},
	} {
		for _, h := range hosts {
			for _, d := range h.mine {
				phase(h, d)
			}
		}
	}
}

// unpluggedHost is a host of which some devices are unplugged, as an MQTT client sees it.
type unpluggedHost struct {
	*watch
	mine   []*unpluggedDevice
	others []string // the kinds that go on
}

// unpluggedDevice is a device of a host.
type unpluggedDevice struct {
	unplugged
	unplug, plug func()
	told         int // how many messages there were when it was known to be unplugged
}

// newUnpluggedHost starts a host with all devices, which unplugs every unpluggedHosts'th.
func newUnpluggedHost(t *testing.T, devices []unplugged, number int) *unpluggedHost {
	p := newPlugged(t)
	url := bustest.Start(t)
	h := &unpluggedHost{watch: newWatch(t, url)}
	var conf strings.Builder
	for i, d := range devices {
		fmt.Fprintf(&conf, "  %s: {%s, points: {", d.kind, strings.NewReplacer("FILE", p.file, "UPSD", p.address).Replace(d.options))
		for _, path := range d.dead {
			fmt.Fprintf(&conf, "%q: {stale_after: 3s}, ", path)
		}
		conf.WriteString("cpu/used: {stale_after: 0s}}}\n") // the fixture's /proc/stat stands still
		if i%unpluggedHosts != number {
			h.others = append(h.others, d.kind)
			continue
		}
		mine := &unpluggedDevice{unplugged: d}
		mine.unplug, mine.plug = d.how(p)
		h.mine = append(h.mine, mine)
	}
	startRunner(t, RunnerConfig{Config: parse(t, url, t.TempDir(), conf.String()), Factories: p.factories(), OpenChip: p.openChip})
	return h
}

// wantNothingFresh makes sure that no value of the device has come since it was known to be gone.
func (h *unpluggedHost) wantNothingFresh(d *unpluggedDevice) {
	h.t.Helper()
	for _, m := range h.everything()[d.told:] {
		for _, path := range d.dead {
			if m.Topic == "/h/"+d.kind+"/"+path && len(m.Payload) > 0 {
				h.t.Errorf("%s came with %q without its device", m.Topic, m.Payload)
			}
		}
	}
}

// wantAlive waits until a service is online, has no error, and all its points that its device has have a value.
func (w *watch) wantAlive(d unplugged) {
	w.t.Helper()
	w.until(d.kind+" is alive", func() bool {
		alive := string(w.last["/h/"+d.kind+"/status"].Payload) == "online" && len(w.last["/h/"+d.kind+"/error"].Payload) == 0
		for _, path := range d.dead {
			alive = alive && len(w.last["/h/"+d.kind+"/"+path].Payload) > 0
		}
		return alive
	})
}

// isDead reports whether nobody can take the values of the device for those of now. The lock is held.
func (h *unpluggedHost) isDead(d *unpluggedDevice) bool {
	if string(h.last["/h/"+d.kind+"/status"].Payload) == "offline" {
		return true
	}
	for _, path := range d.dead {
		if len(h.last["/h/"+d.kind+"/"+path].Payload) > 0 {
			return false
		}
	}
	return true
}

// wantAnswer asks a service for all that it has, which must be right.
func (w *watch) wantAnswer(kind string) {
	w.t.Helper()
	id := fmt.Sprint(len(w.everything()))
	w.publish("/h/"+kind+"/get", "{\"id\": "+id+"}", false)
	if r := w.result("/h/"+kind+"/result", id); !r.OK {
		w.t.Errorf("%s: get has the result %+v", kind, r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := string(w.last["/h/"+kind+"/status"].Payload); got != "online" {
		w.t.Errorf("%s is %q", kind, got)
	}
}

// everything returns all that was published so far.
func (w *watch) everything() []bus.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[:len(w.all):len(w.all)]
}
