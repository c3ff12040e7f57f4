package agents

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"rollcall/config"
)

// iioTree is a fixture tree of sysfs in a temporary folder.
type iioTree struct {
	t    *testing.T
	root string
}

func newIIOTree(t *testing.T, name string) iioTree {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	tree := iioTree{t, t.TempDir()}
	for _, f := range archive.Files {
		if f.Name != "links" {
			tree.write(f.Name, string(f.Data))
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			at, to, _ := strings.Cut(strings.TrimSpace(line), " ")
			tree.link(at, to)
		}
	}
	return tree
}

// TestIIOUnreadable wants to be told why a device can't be looked at, and not that there is none.
func TestIIOUnreadable(t *testing.T) {
	t.Parallel()
	for kind, options := range map[string]string{"dht22": "device: dht11@4", "ain": "{}"} {
		tree := newIIOTree(t, "dht22/two")
		for i := range 3 {
			name := tree.path(fmt.Sprintf("sys/bus/iio/devices/iio:device%d/name", i))
			if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range All() {
			if f.Name != kind {
				continue
			}
			if _, err := tree.start(f, options); err == nil || !strings.Contains(err.Error(), "device0/name: it is not a regular file") {
				t.Errorf("%s: %v, want to be told why", kind, err)
			}
		}
	}
}

// path makes the folder of a file and returns its path.
func (x iioTree) path(name string) string {
	x.t.Helper()
	path := filepath.Join(x.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		x.t.Fatal(err)
	}
	return path
}

func (x iioTree) link(at, to string) {
	x.t.Helper()
	if err := os.Symlink(to, x.path(at)); err != nil {
		x.t.Fatal(err)
	}
}

func (x iioTree) write(name, data string) {
	x.t.Helper()
	if err := os.WriteFile(x.path(name), []byte(data), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

func (x iioTree) read(name string) string {
	x.t.Helper()
	data, err := os.ReadFile(filepath.Join(x.root, name))
	if err != nil {
		x.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// rename moves a file or a link, as a device that is unplugged or gets another number does.
func (x iioTree) rename(from, to string) {
	x.t.Helper()
	if err := os.Rename(filepath.Join(x.root, from), x.path(to)); err != nil {
		x.t.Fatal(err)
	}
}

// start makes an agent of a factory with options in YAML.
func (x iioTree) start(f Factory, options string) (Agent, error) {
	x.t.Helper()
	return iioStart(x.t, f, options, Deps{Root: x.root, Service: f.Name})
}

func iioStart(t *testing.T, f Factory, options string, d Deps) (Agent, error) {
	t.Helper()
	o := f.Defaults()
	node, err := config.ParseNode("options.yaml", []byte(options))
	if err == nil {
		err = node.Decode(o)
	}
	if err != nil {
		return nil, err
	}
	d.At = node.Errorf
	a, err := f.New(o, d)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil && !strings.Contains(err.Error(), "gone") {
			t.Logf("close: %v", err)
		}
	})
	return a, nil
}

func TestIIOChannels(t *testing.T) {
	t.Parallel()
	files := []string{"in_voltage0_raw", "in_voltage1-voltage2_raw", "in_voltage1-voltage2_scale", "in_voltage-voltage_scale", "in_voltage_scale",
		"in_voltage3_supply_raw", "in_temp_raw", "in_temp_input", "in_voltage9_input", "in_accel_x_raw", "out_voltage0_raw", "in_offset", "scale",
		"in_voltage0&voltage1_raw", "in__raw", "in_voltage0_", "in_voltage0_raw_available", "in_voltage" + strings.Repeat("1", 80) + "_raw"}
	got := iioChannels(files, "in", ainWants)
	var ids []string
	for _, c := range got {
		ids = append(ids, c.id+" "+c.attribute(files, "scale")+" "+c.attribute(files, "offset"))
	}
	want := "voltage0 in_voltage_scale in_offset|voltage1-voltage2 in_voltage1-voltage2_scale in_offset|voltage3_supply in_voltage_scale in_offset|" +
		"temp scale in_offset|voltage9 in_voltage_scale in_offset"
	if s := strings.Join(ids, "|"); s != want {
		t.Errorf("channels %s\nwant %s", s, want)
	}
	if got := got[1].attribute(files[:2], "scale"); got != "" {
		t.Errorf("a scale %q where there is none", got)
	}
	diff := got[1]
	if got := diff.attribute([]string{"in_voltage_scale", "in_voltage-voltage_scale"}, "scale"); got != "in_voltage-voltage_scale" {
		t.Errorf("the scale of a differential channel is %q", got)
	}
}

// Two devices of one name are told apart by anything that tells them apart, and no one is picked in silence.
func TestIIOFind(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "ain/ads1015")
	tree.link("sys/bus/iio/devices/trigger0", "../../../devices/trigger0")
	for want, fails := range map[string]string{
		"1-0048": "", "1-0049": "", "cellar": "", "iio:device0": "", "/sys/bus/iio/devices/iio:device1": "",
		"/sys/devices/platform/soc/fe804000.i2c/i2c-1/1-0048/iio:device0": "",
		"ads1015":                          "2 IIO devices fit: iio:device0 (ads1015, at 1-0048), iio:device1 (ads1015, label cellar, at 1-0049); say which in device",
		"":                                 "2 IIO devices fit: iio:device0 (ads1015, at 1-0048)",
		"mcp3008":                          `no IIO device "mcp3008" with channels to read: there are iio:device0 (ads1015, at 1-0048), iio:device1 (ads1015, label cellar, at 1-0049); put dtoverlay=mcp3008`,
		"1-004":                            `no IIO device "1-004"`,
		"/sys/bus/iio/devices/iio:device7": "no IIO device",
	} {
		_, err := tree.start(ainFactory(), "device: \""+want+"\"")
		if (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("device %q: %v, want %q", want, err, fails)
		}
	}
	empty := iioTree{t, t.TempDir()}
	if _, err := empty.start(ainFactory(), "device: ads1115"); err == nil || !strings.Contains(err.Error(), "there is no IIO device: put dtoverlay=ads1115,cha_enable=true") {
		t.Errorf("without any device: %v", err)
	}
}

func TestIIOFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		bytes []byte
		want  int64
	}{
		{"le:u13/16>>0", []byte{0x07, 0x00}, 7},
		{"le:s12/16>>0", []byte{0xdf, 0xff}, -33},
		{"le:s12/16>>4", []byte{0xf0, 0x7f}, 2047},
		{"le:s12/16>>4", []byte{0x0f, 0x80}, -2048},
		{"be:s24/32>>8", []byte{0xff, 0xff, 0xfe, 0x55}, -2},
		{"be:u24/32>>8", []byte{0xff, 0xff, 0xfe, 0x55}, 0xfffffe},
		{"le:u8/8", []byte{0xff}, 255},
		{"le:s8/8>>0", []byte{0xff}, -1},
		{"le:s64/64>>0", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 1<<63 - 1},
		{"le:u13/16>>0", []byte{0xff, 0xff}, 0x1fff}, // what is above the bits is not the value's
	} {
		f, err := parseIIOFormat(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := f.value(tt.bytes); got != tt.want {
			t.Errorf("%s of %x = %d, want %d", tt.text, tt.bytes, got, tt.want)
		}
	}
	for _, text := range []string{"", "le:", "le:s", "me:s12/16>>4", "le:f32/32>>0", "le:s12", "le:s12/16X2>>4", "le:s12/24>>0", "le:s0/16>>0",
		"le:s12/16>>5", "le:s12/16>>-1", "le:s12/16>>", "le:s12/999>>0", "le:+1/8>>0"} {
		if f, err := parseIIOFormat(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, f)
		}
	}
}

func FuzzIIOFormat(f *testing.F) {
	for _, s := range []string{"le:u13/16>>0", "be:s24/32>>8", "le:s64/64", "le:s12/16X2>>4"} {
		f.Add(s)
	}
	ones := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	f.Fuzz(func(t *testing.T, s string) {
		format, err := parseIIOFormat(s)
		if err != nil {
			return
		}
		if got := format.value(ones); format.signed && got != -1 || !format.signed && format.bits < 64 && got != 1<<format.bits-1 {
			t.Errorf("%s of all ones is %d", s, got)
		}
		if l := newIIOLayout([]iioFormat{format, format}); l.size != 2*format.bytes || l.elements[1].offset != format.bytes {
			t.Errorf("%s twice is %+v", s, l)
		}
	})
}

func FuzzIIOChannels(f *testing.F) {
	for _, s := range []string{"in_voltage0_raw", "in_voltage1-voltage2_raw", "in_voltage3_supply_raw", "in_temp_input"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		for _, c := range iioChannels([]string{file}, "in", ainWants) {
			if file != c.file("raw") && file != c.file("input") || strings.ContainsAny(c.id, "/+# ") {
				t.Errorf("%q gives %+v", file, c)
			}
			if !ainWants(c.kind) {
				t.Errorf("%q is of kind %q", file, c.kind)
			}
		}
	})
}

// Elements lie in the order of their indices, each at a multiple of its size: the dummy's with a timestamp is 16 bytes.
func TestIIOLayout(t *testing.T) {
	t.Parallel()
	l := newIIOLayout([]iioFormat{{channel: "timestamp", index: 4, bytes: 8}, {channel: "a", index: 2, bytes: 2}, {channel: "b", index: 0, bytes: 4}, {channel: "c", index: 1, bytes: 1}})
	var got []int
	for _, e := range l.elements {
		got = append(got, e.offset)
	}
	if want := [4]int{8, 6, 0, 4}; [4]int(got) != want || l.size != 16 {
		t.Errorf("offsets %v of %d, want %v of 16", got, l.size, want)
	}
	if l := newIIOLayout([]iioFormat{{index: 1, bytes: 1}, {index: 0, bytes: 4}}); l.size != 8 {
		t.Errorf("a scan of 4 and 1 bytes has %d, want 8", l.size)
	}
}
