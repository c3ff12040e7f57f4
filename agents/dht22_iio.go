package agents

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"syscall"
)

// The files of the kernel's driver: thousandths of °C and of % (Documentation/ABI/testing/sysfs-bus-iio).
const (
	dht22Celsius = "in_temp_input"
	dht22Percent = "in_humidityrelative_input"
	dht22Milli   = 1000
)

// dht22IIO reads a sensor by the kernel's driver dht11, which knows all models.
type dht22IIO struct {
	model  string
	device *iioDevice
}

func newDHT22IIO(o dht22Options, d Deps) (*dht22IIO, error) {
	search := iioSearch{root: iioRoot(d), want: o.Device, what: "the files of a DHT sensor, " + dht22Celsius + " and " + dht22Percent,
		fits: func(files []string) bool {
			return slices.Contains(files, dht22Celsius) && slices.Contains(files, dht22Percent)
		},
		hint: func(string) string {
			return "the kernel needs the line dtoverlay=dht11,gpiopin=4 in /boot/firmware/config.txt and a restart; without an overlay, say driver: edges"
		}}
	device, err := search.find()
	if err != nil {
		return nil, err
	}
	if o.Device == "" && !dht22Name(device.name) {
		return nil, iioAt(d, "device", "%s is no sensor of the driver dht11; if it is the one to read, name it", device)
	}
	return &dht22IIO{o.Model, device}, nil
}

// dht22Name reports whether the kernel has made the name for a dht11, which is that of its node in the device tree: dht11@4.
func dht22Name(name string) bool {
	return regexp.MustCompile(`^([0-9a-f]+\.)?dht11(@[0-9a-f]+)?$`).MatchString(name)
}

// read reads both files. The first makes the kernel ask the sensor; for 2 s it answers the other from what it knows.
func (d *dht22IIO) read(context.Context) (v dht22Value, doubt bool, err error) {
	if err := d.device.fresh(); err != nil {
		return v, false, err
	}
	celsius, err := d.device.readFloat(dht22Celsius)
	if err != nil {
		return v, false, dht22Errno(err)
	}
	percent, err := d.device.readFloat(dht22Percent)
	if err != nil {
		return v, false, dht22Errno(err)
	}
	return dht22Value{celsius / dht22Milli, percent / dht22Milli}, false, nil
}

// dht22Errno marks what the driver says of a read that may do better the next time: EIO for a wrong checksum or a lost edge,
// ETIMEDOUT for too few edges, EAGAIN for a clock that is too coarse just now (drivers/iio/humidity/dht11.c).
func dht22Errno(err error) error {
	for _, e := range []error{syscall.EIO, syscall.ETIMEDOUT, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", errDHT22Read, err)
		}
	}
	return err
}

func (d *dht22IIO) close() error { return nil }
