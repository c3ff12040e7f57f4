package agents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ds18b20Bus is the 1-wire bus as the kernel shows it.
type ds18b20Bus struct {
	root, driver string
	readFile     func(name string) (string, error)
	turn         chan struct{} // has room for one: the bus is read by one at a time
	reads        sync.WaitGroup
}

func newDS18B20Bus(root, driver string) *ds18b20Bus {
	return &ds18b20Bus{root: root, driver: driver, readFile: sensorFile, turn: make(chan struct{}, 1)}
}

// close waits for the read that may still be going on, of which the kernel makes five attempts of a second at most
// (W1_THERM_MAX_TRY).
func (b *ds18b20Bus) close() error {
	b.reads.Wait()
	return nil
}

const ds18b20Overlay = "dtoverlay=w1-gpio in /boot/firmware/config.txt and a restart make a bus"

var errDS18B20None = errors.New("there is no probe on the bus: look at the wires, and at the resistor of 4.7 kΩ from DQ to 3.3 V; " +
	"the module w1_therm must be loaded too")

// ds18b20Devices is where the kernel has what it found on all 1-wire buses.
const ds18b20Devices = "sys/bus/w1/devices"

// addresses returns the thermometers that the kernel sees. It is no error that there are none, if there is a bus.
func (b *ds18b20Bus) addresses() ([]string, error) {
	if b.driver == ds18b20Hwmon {
		var out []string
		for _, dir := range hostsensorNumbered(filepath.Join(b.root, "sys/class/hwmon/hwmon*")) {
			if address := ds18b20HwmonAddress(dir); address != "" {
				out = append(out, address)
			}
		}
		slices.Sort(out)
		return out, nil
	}
	entries, err := os.ReadDir(filepath.Join(b.root, ds18b20Devices))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the kernel knows no 1-wire bus: %s: %w", ds18b20Overlay, err)
	}
	if err != nil {
		return nil, fmt.Errorf("look for probes: %w", err)
	}
	var out []string
	masters := 0
	for _, e := range entries {
		switch name := e.Name(); {
		case ds18b20Address.MatchString(name):
			out = append(out, name)
		case strings.HasPrefix(name, "w1_bus_master"):
			masters++
		}
	}
	if len(out) == 0 && masters == 0 {
		return nil, fmt.Errorf("the kernel has no 1-wire bus: %s", ds18b20Overlay)
	}
	slices.Sort(out)
	return out, nil
}

// ds18b20HwmonAddress returns the address of the probe that a hwmon device shows, or "". w1 registers it as a child of the
// probe's device (drivers/w1/w1.c, w1_family_notify).
func ds18b20HwmonAddress(dir string) string {
	device, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil || !ds18b20Address.MatchString(filepath.Base(device)) {
		return ""
	}
	return filepath.Base(device)
}

// read has a probe convert, which takes up to 0.75 s, and returns the temperature in °C.
func (b *ds18b20Bus) read(ctx context.Context, address string) (float64, error) {
	if b.driver == ds18b20Hwmon {
		for _, dir := range hostsensorNumbered(filepath.Join(b.root, "sys/class/hwmon/hwmon*")) {
			if ds18b20HwmonAddress(dir) == address {
				return ds18b20Milli(b.file(ctx, filepath.Join(dir, "temp1_input")))
			}
		}
		return 0, ds18b20Gone(address)
	}
	dir := filepath.Join(b.root, ds18b20Devices, address)
	if _, err := os.Stat(dir); err != nil {
		return 0, ds18b20Gone(address)
	}
	celsius, err := ds18b20Milli(b.file(ctx, filepath.Join(dir, "temperature"))) // Linux 5.8 or later
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ds18b20Slave(b.file(ctx, filepath.Join(dir, "w1_slave")))
	case err == nil && celsius == 0:
		// With DQ shorted to ground all is 0, the checksum too; only w1_slave tells that from a cold day.
		again, err := ds18b20Slave(b.file(ctx, filepath.Join(dir, "w1_slave")))
		if errors.Is(err, fs.ErrNotExist) {
			return celsius, nil
		}
		return again, err
	}
	return celsius, err
}

func ds18b20Gone(address string) error {
	return fmt.Errorf("probe %s is not on the bus: look at its wires; it is read again when it is back", address)
}

// file reads a file of a probe. The kernel returns when the conversion has ended, but this returns when ctx ends.
func (b *ds18b20Bus) file(ctx context.Context, name string) (string, error) {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	b.reads.Go(func() {
		defer func() { <-b.turn }()
		text, err := b.readFile(name)
		done <- result{text, err}
	})
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// ds18b20Milli reads what the files temperature and temp1_input hold: 23125 for 23.125 °C.
func ds18b20Milli(text string, err error) (float64, error) {
	switch {
	case errors.Is(err, syscall.EIO):
		return 0, fmt.Errorf("the checksum is wrong, or the conversion has failed: look at the wires and the pull-up: %w", err)
	case errors.Is(err, syscall.ENODEV):
		return 0, fmt.Errorf("the probe does not answer: look at its wires: %w", err)
	case err != nil:
		return 0, err
	case text == "":
		return 0, errDS18B20Empty
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no temperature in thousandths of a degree", text)
	}
	return float64(n) / 1000, nil
}

var errDS18B20Empty = errors.New("the kernel tells nothing: the probe does not answer, or another program has begun a conversion (therm_bulk_read)")

// ds18b20Scratchpad is how many bytes the memory of a probe has (data sheet 19-7487, figure 9).
const ds18b20Scratchpad = 9

// ds18b20Slave reads the file w1_slave (w1_therm.rst, "two lines of ASCII output"):
//
//	72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
//	72 01 4b 46 7f ff 0e 10 57 t=23125
func ds18b20Slave(text string, err error) (float64, error) {
	if err != nil {
		return ds18b20Milli("", err)
	}
	if text == "" {
		return 0, errDS18B20Empty
	}
	first, second, _ := strings.Cut(text, "\n")
	head, memory := strings.Fields(first), strings.Fields(second)
	if len(head) != ds18b20Scratchpad+3 || len(memory) != ds18b20Scratchpad+1 || head[ds18b20Scratchpad] != ":" {
		return 0, fmt.Errorf("%.100q is not what w1_slave holds", text)
	}
	if verdict := head[len(head)-1]; verdict != "YES" {
		return 0, fmt.Errorf("the checksum is wrong (%.10s %.10s): look at the wires and the pull-up", head[len(head)-2], verdict)
	}
	zeros := true
	for _, b := range head[:ds18b20Scratchpad] {
		n, err := strconv.ParseUint(b, 16, 8)
		if err != nil {
			return 0, fmt.Errorf("%.10q in w1_slave is no byte", b)
		}
		zeros = zeros && n == 0
	}
	if zeros {
		return 0, errors.New("the bus reads all zeros: DQ is shorted to ground")
	}
	milli, ok := strings.CutPrefix(memory[ds18b20Scratchpad], "t=")
	if !ok {
		return 0, fmt.Errorf("%.100q is not what w1_slave holds: no t=", text)
	}
	return ds18b20Milli(milli, nil)
}
