package agents

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/config"
)

// check has a runner check the options of one agent, and returns the error and what it warns of.
func check(t *testing.T, agent, options string) (warned string, err error) {
	t.Helper()
	c, err := config.Parse("rollcall.yaml", []byte("agents:\n  "+agent+":\n    "+strings.ReplaceAll(options, "\n", "\n    ")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	_, err = NewRunner(RunnerConfig{File: "rollcall.yaml", Config: c, Factories: All(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	return log.String(), err
}

// What can be seen without the hardware is refused before anything runs, with its file and line.
func TestOptionsRefusedByTheCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ agent, options, want string }{
		{"nut", "address: 127.0.0.1:99999", "rollcall.yaml:3: agents.nut.address: port 99999 is not from 1 to 65535"},
		{"nut", "address: ups:0", "rollcall.yaml:3: agents.nut.address: port 0 is not from 1 to 65535"},
		{"nut", "address: ups:99999999999999999999", "rollcall.yaml:3: agents.nut.address: port 99999999999999999999 is not from 1 to 65535"},
		{"nut", "address: ups:65535", ""},
		{"sonar", "trigger: 23\necho: pin16", `rollcall.yaml:4: agents.sonar.echo: "pin16" is line 23, which trigger has already`},
		{"sonar", "trigger: 23\necho: GPIO23", `rollcall.yaml:4: agents.sonar.echo: "GPIO23" is line 23, which trigger has already`},
		{"sonar", "trigger: 23\necho: pin2", `rollcall.yaml:4: agents.sonar.echo: pin "pin2": is 5 V power, not a line`},
		{"sonar", "chip: gpiochip7\ntrigger: 23\necho: pin16", ""}, // it may have lines of any name
		{"sonar", "chip: gpiochip7\ntrigger: A\necho: a", `rollcall.yaml:5: agents.sonar.echo: "a" is a, which trigger has already`},
		{"dac", "driver: pwm\noutputs: {a: {pin: 18}, b: {pin: pin12}}", `rollcall.yaml:4: agents.dac.outputs.b.pin: "pin12" is line 18, which outputs.a.pin has already`},
		{"dac", "driver: pwm\noutputs: {a: {pin: pin6}}", `rollcall.yaml:4: agents.dac.outputs.a.pin: pin "pin6": is ground, not a line`},
		{"dac", "device: /dev/iio:device0\noutputs: {a: {}}", `rollcall.yaml:3: agents.dac.device: "/dev/iio:device0" is not where the kernel tells of a device: ` +
			"give its folder in sysfs, as /sys/bus/iio/devices/iio:device0, or its name"},
		{"dht22", "driver: edges\npin: pin1", `rollcall.yaml:4: agents.dht22.pin: pin "pin1": is 3.3 V power, not a line`},
		{"dht22", "driver: edges\npin: pin41", `rollcall.yaml:4: agents.dht22.pin: pin "pin41": the header has the positions 1 to 40`},
		{"dht22", "driver: edges\npin: '07'", `rollcall.yaml:4: agents.dht22.pin: pin "07": begins with a 0; say 7`},
		{"dht22", "driver: edges\npin: 4", ""},
		{"display", "stb: 17\nclk: 27\ndio: pin11", `rollcall.yaml:5: agents.display.dio: "pin11" is line 17, which stb has already`},
		{"ain", "device: iio/devices/iio:device0", `rollcall.yaml:3: agents.ain.device: "iio/devices/iio:device0" is neither a name nor a path from the root, as /sys/bus/iio/devices/iio:device0`},
		{"ain", "device: /sys/bus/../bus/iio", `rollcall.yaml:3: agents.ain.device: "/sys/bus/../bus/iio" is a roundabout way to /sys/bus/iio`},
		{"ain", "device: /sys/bus/iio/devices/iio:device0/", ""},
		{"gpio", "outputs: {a: {pin: pin9}}", `rollcall.yaml:3: agents.gpio.outputs.a.pin: pin "pin9": is ground, not a line`},
		{"gpio", "chip: gpiochip7\noutputs: {a: {pin: pin9}}", ""},
	} {
		warned, err := check(t, tt.agent, tt.options)
		switch {
		case err == nil && tt.want != "", err != nil && err.Error() != tt.want:
			t.Errorf("%s: %s:\n%v, want\n%s", tt.agent, tt.options, err, tt.want)
		case warned != "":
			t.Errorf("%s: %s: warned of %s", tt.agent, tt.options, warned)
		}
	}
}

// What may be there later is no error, but told with its file and line.
func TestOptionsWarnedOf(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ agent, options, want string }{
		{"exec", "command: [/no/such/program]\nvalues: {a: {}}", "rollcall.yaml:3: agents.exec.command[0]: there is no program /no/such/program: install it, or correct command"},
		{"exec", "command: [/bin/echo]\nvalues: {a: {}}", ""},
		{"nut", "address: ups\nca_file: /no/such/file", "rollcall.yaml:4: agents.nut.ca_file: stat /no/such/file: no such file or directory"},
		{"nut", "username: a\npassword_file: /no/such/file", "rollcall.yaml:4: agents.nut.password_file: stat /no/such/file: no such file or directory"},
		{"nut", "ca_file: " + there, ""},
	} {
		warned, err := check(t, tt.agent, tt.options)
		if err != nil || !strings.Contains(warned, tt.want) || (warned == "") != (tt.want == "") {
			t.Errorf("%s: %s: %v, warned of %q, want %q", tt.agent, tt.options, err, warned, tt.want)
		}
	}
}
