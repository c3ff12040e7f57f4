package agents

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

const (
	ds18b20Room  = "28-000005e2fdc3"
	ds18b20Ice   = "28-00000463b745"
	ds18b20Old   = "10-000802b4ba0e"
	ds18b20Bus1  = "sys/devices/w1_bus_master1/"
	ds18b20Links = "sys/bus/w1/devices/"
)

// ds18b20Values returns the points of the agent with what they are, or with what is wrong.
func ds18b20Values(t *testing.T, a Agent) []string {
	t.Helper()
	service := a.Describe()
	service.Name = "ds18b20"
	if err := service.Validate(); err != nil {
		t.Errorf("describe: %v", err)
	}
	var got []string
	for _, p := range service.Points {
		r, err := a.(Sampler).Sample(t.Context(), p.Path)
		if err != nil {
			got = append(got, "error: "+err.Error())
			continue
		}
		got = append(got, strings.TrimSpace(p.Path+" "+reports.FormatValue(r.Value)+" "+p.Unit))
	}
	return got
}

func TestDS18B20Probes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, tree, options string
		want                []string
	}{
		{"temperature", "new", "", []string{"probes 3", "temperature/10-000802b4ba0e 22.5 °C", "temperature/28-00000463b745 -10.125 °C", "temperature/28-000005e2fdc3 23.125 °C"}},
		{"w1_slave", "old", "", []string{"probes 3", "temperature/10-000802b4ba0e 22.5 °C", "temperature/28-00000463b745 -10.125 °C", "temperature/28-000005e2fdc3 23.125 °C"}},
		{"hwmon", "new", "driver: hwmon", []string{"probes 3", "temperature/10-000802b4ba0e 22.5 °C", "temperature/28-00000463b745 -10.125 °C", "temperature/28-000005e2fdc3 23.125 °C"}},
		{"names", "new", "probes: {room: 28-000005e2fdc3}", []string{"probes 3", "temperature/room 23.125 °C", "temperature/10-000802b4ba0e 22.5 °C", "temperature/28-00000463b745 -10.125 °C"}},
		{"only", "old", "only: true\nprobes: {room: 28-000005e2fdc3, lost: 28-000000000bad}", []string{"probes 3",
			"error: temperature/lost: probe 28-000000000bad is not on the bus: look at its wires; it is read again when it is back", "temperature/room 23.125 °C"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := newIIOTree(t, "ds18b20/"+tt.tree).start(ds18b20Factory(), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := ds18b20Values(t, a); !slices.Equal(got, tt.want) {
				t.Errorf("points\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// What the kernel says of a probe that fails, in every kernel, is an error that says what to do, and never a value.
func TestDS18B20Faults(t *testing.T) {
	t.Parallel()
	const rom = "72 01 4b 46 7f ff 0e 10 57"
	for _, tt := range []struct{ name, tree, text, want string }{
		{"crc", "old", rom + " : crc=c5 NO\n" + rom + " t=23125\n", "the checksum is wrong (crc=c5 NO)"},
		{"power-on", "old", "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n", "had no power"},
		{"no power", "old", "ff 07 4b 46 7f ff 0c 10 1c : crc=1c YES\nff 07 4b 46 7f ff 0c 10 1c t=127937\n", "127.937 °C is out of -55 to 125 °C"},
		{"too cold", "old", rom + " : crc=57 YES\n" + rom + " t=-55063\n", "-55.063 °C is out of"},
		{"shorted", "old", "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n", "DQ is shorted"},
		{"nothing", "old", "", "does not answer"},
		{"cut", "old", rom + " : crc=57 YES\n", "is not what w1_slave holds"},
		{"no t", "old", rom + " : crc=57 YES\n" + rom + " x=1\n", "no t="},
		{"no byte", "old", "zz 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n" + rom + " t=1\n", `"zz" in w1_slave is no byte`},
		{"power-on, new kernel", "new", "85000\n", "had no power"},
		{"in a bulk read", "new", "\n", "does not answer, or another program"},
		{"no number", "new", "warm\n", `"warm" is no temperature`},
		{"too large", "new", "99999999999\n", `"99999999999" is no temperature`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := newIIOTree(t, "ds18b20/"+tt.tree)
			tree.write(ds18b20Bus1+ds18b20Room+map[string]string{"old": "/w1_slave", "new": "/temperature"}[tt.tree], tt.text)
			a, err := tree.start(ds18b20Factory(), "")
			if err != nil {
				t.Fatal(err)
			}
			if r, err := a.(Sampler).Sample(t.Context(), "temperature/"+ds18b20Room); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want %s", r, err, tt.want)
			}
			if r, err := a.(Sampler).Sample(t.Context(), "temperature/"+ds18b20Ice); err != nil || r.Value != -10.125 {
				t.Errorf("the other probe: %+v, %v", r, err)
			}
		})
	}
}

// With temperature at 0 the scratchpad tells a short from a cold day.
func TestDS18B20Zero(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "ds18b20/new")
	a, err := tree.start(ds18b20Factory(), "")
	if err != nil {
		t.Fatal(err)
	}
	tree.write(ds18b20Bus1+ds18b20Room+"/temperature", "0\n")
	for text, want := range map[string]string{
		"00 00 4b 46 7f ff 10 10 d1 : crc=d1 YES\n00 00 4b 46 7f ff 10 10 d1 t=0\n": "0",
		"00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n": "shorted",
	} {
		tree.write(ds18b20Bus1+ds18b20Room+"/w1_slave", text)
		r, err := a.(Sampler).Sample(t.Context(), "temperature/"+ds18b20Room)
		if want == "0" && (err != nil || r.Value != 0.0) || want != "0" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	if err := os.Remove(filepath.Join(tree.root, ds18b20Bus1+ds18b20Room+"/w1_slave")); err != nil {
		t.Fatal(err)
	}
	if r, err := a.(Sampler).Sample(t.Context(), "temperature/"+ds18b20Room); err != nil || r.Value != 0.0 {
		t.Errorf("without w1_slave: %+v, %v", r, err)
	}
}

func TestDS18B20Check(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_750_000_000, 0)
	none := ds18b20Value{}
	was := func(celsius float64) ds18b20Value { return ds18b20Value{celsius, start, true} }
	for _, tt := range []struct {
		name  string
		last  ds18b20Value
		is    float64
		after time.Duration
		ok    bool
	}{
		{"first", none, 20, 0, true}, {"least", none, -55, 0, true}, {"most", none, 125, 0, true},
		{"below", none, -55.0625, 0, false}, {"above", none, 125.0625, 0, false}, {"disconnected", was(125), 127.9375, 0, false},
		{"85 at first", none, 85, 0, false}, {"85 after 20", was(20), 85, time.Second, false}, {"85 after 84.9375", was(84.9375), 85, time.Second, true},
		{"85 after 80", was(80), 85, time.Second, true}, {"85 after 79.9375", was(79.9375), 85, time.Second, false},
		{"85 after 90", was(90), 85, time.Second, true}, {"85 after 90.0625", was(90.0625), 85, time.Second, false},
		{"85 after 85", was(85), 85, time.Minute, true}, {"85 long after", was(85), 85, time.Minute + 1, false},
		{"near 85", none, 85.0625, 0, true},
	} {
		if err := ds18b20Check(tt.last, ds18b20Value{tt.is, start.Add(tt.after), true}, time.Minute); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

// Probes come and go while the service runs: a new one gets a point, one that is gone an error and then no value, and is back by itself.
func TestDS18B20ComeAndGo(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "ds18b20/new")
	away := func(address string) { tree.rename(ds18b20Links+address, "away/"+address) }
	back := func(address string) { tree.rename("away/"+address, ds18b20Links+address) }
	away(ds18b20Ice)
	inBubble(t, nil, func() (Agent, error) {
		o := ds18b20Factory().Defaults().(*ds18b20Options)
		o.Poll = reports.Duration(10 * time.Second)
		return newDS18B20(*o, Deps{Root: tree.root}, time.Now)
	}, func(b *bench) {
		b.after(10 * time.Second)
		b.wantState("temperature/"+ds18b20Room, "23.125")
		b.wantState("temperature/"+ds18b20Ice, "")
		b.wantState("probes", "2")
		b.wantState("error", "")

		back(ds18b20Ice)
		b.after(11 * time.Second)
		b.wantState("temperature/"+ds18b20Ice, "-10.125")
		b.wantState("probes", "3")
		if desc := b.state("/h/s/description"); !strings.Contains(desc, ds18b20Ice) {
			t.Errorf("description %s", desc)
		}

		away(ds18b20Room)
		b.after(11 * time.Second)
		if got := b.state("/h/s/error"); !strings.Contains(got, ds18b20Room+" is not on the bus") {
			t.Errorf("error %q", got)
		}
		b.after(2 * time.Minute)
		b.wantState("temperature/"+ds18b20Room, "")
		b.wantState("temperature/"+ds18b20Ice, "-10.125")
		b.wantState("status", "online")

		back(ds18b20Room)
		b.after(5 * time.Minute)
		b.wantState("temperature/"+ds18b20Room, "23.125")
		b.wantState("error", "")
	})
}

// A read that the kernel does not return from holds up neither its caller nor, once it has ended, the next one.
func TestDS18B20Hangs(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "ds18b20/new")
	a, err := tree.start(ds18b20Factory(), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	a.(*ds18b20).bus.readFile = func(name string) (string, error) {
		if filepath.Base(filepath.Dir(name)) == ds18b20Room {
			<-ended
		}
		return sensorFile(name)
	}
	for _, path := range []string{ds18b20Room, ds18b20Ice} { // the second waits for the bus
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if r, err := a.(Sampler).Sample(ctx, "temperature/"+path); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
		cancel()
	}
	close(ended)
	if r, err := a.(Sampler).Sample(t.Context(), "temperature/"+ds18b20Ice); err != nil || r.Value != -10.125 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

func TestDS18B20NoBus(t *testing.T) {
	t.Parallel()
	if _, err := iioStart(t, ds18b20Factory(), "", Deps{Root: t.TempDir()}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dtoverlay=w1-gpio") {
		t.Errorf("without w1: %v", err)
	}
	tree := newIIOTree(t, "ds18b20/new")
	for _, address := range []string{ds18b20Room, ds18b20Ice, ds18b20Old} {
		tree.rename(ds18b20Links+address, "away/"+address)
	}
	if _, err := tree.start(ds18b20Factory(), ""); !errors.Is(err, errDS18B20None) {
		t.Errorf("without probes: %v", err)
	}
	tree.rename(ds18b20Links+"w1_bus_master1", "away/master")
	if _, err := tree.start(ds18b20Factory(), ""); err == nil || !strings.Contains(err.Error(), "dtoverlay=w1-gpio") {
		t.Errorf("without a master: %v", err)
	}
	if _, err := iioStart(t, ds18b20Factory(), "driver: hwmon", Deps{Root: t.TempDir()}); !errors.Is(err, errDS18B20None) {
		t.Errorf("without hwmon: %v", err)
	}
	if _, err := ds18b20Factory().New(&gpioOptions{}, Deps{}); err == nil {
		t.Error("the options of another agent are taken")
	}
}

func TestDS18B20BadOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"driver: spi":   `options.yaml:1: driver: "spi" is not w1 or hwmon`,
		"\npoll: 500ms": "options.yaml:2: poll: 500ms is too often, at least 1s is needed",
		"only: true":    "options.yaml:1: only: there are no probes to report: probes is empty",
		"probes: {a: 28-000005E2FDC3}": `options.yaml:1: probes.a: "28-000005E2FDC3" is no address such as 28-000005e2fdc3, in small letters; ` +
			"the kernel lists them in /sys/bus/w1/devices",
		"probes: {a b: 28-000005e2fdc3}":                      `"probes.a b": name "a b": only A-Z`,
		"probes:\n  b: 28-000005e2fdc3\n  a: 28-000005e2fdc3": "options.yaml:2: probes.b: 28-000005e2fdc3 is a already",
		"probes: {28-000005e2fdc3: 10-000005e2fdc3}":          "options.yaml:1: probes.28-000005e2fdc3: is the address of another probe than 10-000005e2fdc3",
		"probes: {a: 26-000005e2fdc3}":                        "is no address",
		"probe: {}":                                           `options.yaml:1: probe: unknown key; did you mean "probes"?`,
	} {
		if _, err := iioStart(t, ds18b20Factory(), options, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", options, err, want)
		}
	}
}

func TestDS18B20Simulated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		for range 2 { // the same at the same time
			a, err := iioStart(t, ds18b20Factory(), "sim: true\nprobes: {boiler: 28-000005e2fdc3}", Deps{Root: "/nowhere"})
			if err != nil {
				t.Fatal(err)
			}
			if !a.Describe().Simulated {
				t.Error("it does not say that it is made up")
			}
			got = append(got, strings.Join(ds18b20Values(t, a), ", "))
		}
		if got[0] != got[1] || !strings.HasPrefix(got[0], "simulated ON, temperature/boiler ") {
			t.Errorf("points %q", got)
		}
		a, err := iioStart(t, ds18b20Factory(), "sim: true", Deps{})
		if err != nil || len(a.Describe().Points) != 3 {
			t.Errorf("without names: %+v, %v", a, err)
		}
	})
}

func FuzzDS18B20(f *testing.F) {
	for _, s := range []string{"23125", "-10125", "85000", "", "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125",
		"72 01 4b 46 7f ff 0e 10 57 : crc=57 NO\n72 01 4b 46 7f ff 0e 10 57 t=23125", "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ds18b20Slave(s, nil); err == nil && (!strings.Contains(s, "YES") || !strings.Contains(s, "t=") || v < -2.2e6 || v > 2.2e6) {
			t.Errorf("w1_slave %q = %v", s, v)
		}
		v, err := ds18b20Milli(s, nil)
		if err == nil && ds18b20Check(ds18b20Value{}, ds18b20Value{celsius: v}, time.Minute) == nil && (v < -55 || v > 125 || v == 85) {
			t.Errorf("temperature %q = %v is taken", s, v)
		}
	})
}
