package agents

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSensorFileHostile puts what is no value in the place of a file of sysfs, and wants an error of each agent that reads it, at once.
func TestSensorFileHostile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(file string) error
		want string
	}{
		"a pipe that nobody writes": {func(f string) error { return syscall.Mkfifo(f, 0o600) }, "not a regular file"},
		"a folder":                  {func(f string) error { return os.Mkdir(f, 0o700) }, "not a regular file"},
		"a device":                  {func(f string) error { return os.Symlink("/dev/zero", f) }, "not a regular file"},
		"a link to itself":          {func(f string) error { return os.Symlink(f, f) }, "too many levels"},
		"a megabyte":                {func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte("4"), 1<<20), 0o600) }, "longer than 4096 bytes"},
		"nothing":                   {func(f string) error { return os.WriteFile(f, nil, 0o600) }, ""},
		"binary":                    {func(f string) error { return os.WriteFile(f, []byte("\x00\xff\x1b[2J"), 0o600) }, ""},
		"no number":                 {func(f string) error { return os.WriteFile(f, []byte("NaN\n"), 0o600) }, ""},
		"endless":                   {func(f string) error { return os.WriteFile(f, []byte("inf\n"), 0o600) }, ""},
		"beyond all types":          {func(f string) error { return os.WriteFile(f, []byte("1e999\n"), 0o600) }, ""},
		"a long word":               {func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte("x"), 4096), 0o600) }, ""},
	} {
		for _, read := range []struct {
			kind, tree, options, file, path string
			factory                         Factory
		}{
			{"ain", "ain/mcp3008", "device: mcp3008", "sys/bus/iio/devices/iio:device0/in_voltage0_raw", "voltage0/raw", ainFactory()},
			{"dac", "dac/mcp4725", "{device: mcp4725, outputs: {valve: {channel: voltage0, max: 3.29}}}", "sys/bus/iio/devices/iio:device0/out_voltage0_raw", "valve/volts", dacFactory()},
			{"dht22", "dht22/two", "device: dht11@4", "sys/bus/iio/devices/iio:device0/in_temp_input", "temperature", dht22Factory()},
			{"sonar", "sonar/srf04", "driver: iio", "sys/bus/iio/devices/iio:device0/in_distance_raw", "distance", sonarFactory()},
			{"ds18b20", "ds18b20/new", "", ds18b20Bus1 + ds18b20Room + "/temperature", "temperature/" + ds18b20Room, ds18b20Factory()},
			{"cpu", "cpu/pi4", "", "sys/class/thermal/thermal_zone0/temp", "temperature", cpuFactory()},
		} {
			tree := newIIOTree(t, read.tree)
			a, err := tree.start(read.factory, read.options)
			if err != nil {
				t.Fatalf("%s: %v", read.kind, err)
			}
			file := filepath.Join(tree.root, read.file)
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(file), c.make(file)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			said := make(chan error, 1)
			go func() { // ends with the read, or with the test
				r, err := a.(Sampler).Sample(t.Context(), read.path)
				if err == nil {
					t.Errorf("%s of %s: %+v, want an error", name, read.kind, r)
				}
				_ = a.Close() // that of dac can't leave the safe value there
				said <- err
			}()
			select {
			case err := <-said:
				if err != nil && (!strings.Contains(err.Error(), c.want) || len(err.Error()) > 500) {
					t.Errorf("%s of %s: error of %d bytes, %.300v, want one with %q", name, read.kind, len(err.Error()), err, c.want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s of %s is still being read", name, read.kind)
			}
		}
	}
}
