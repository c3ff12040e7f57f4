package agents

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"rollcall/config"
)

// What the agents of the kernel's Industrial I/O have in common: devices and channels in sysfs as
// Documentation/ABI/testing/sysfs-bus-iio has them.

// iioDevices is where the kernel has its devices and triggers, below the root.
const iioDevices = "sys/bus/iio/devices"

// iioDevice is a device that was found. The kernel numbers devices as they come, so one that was unplugged and is back may be
// another number, and its old number another device: fresh sees to that.
type iioDevice struct {
	search iioSearch
	iioIdentity
}

// iioSearch says which device is wanted.
type iioSearch struct {
	root string
	want string                // name, label, address, iio:deviceN or path; "": the only one that fits
	what string                // what fits, in words
	fits func([]string) bool   // by the names of its files
	hint func(s string) string // what to do where there is none
}

// iioIdentity is what a device is known by.
type iioIdentity struct{ dir, name, label, address string }

// String returns the device as errors name it.
func (i iioIdentity) String() string {
	words := []string{cmp.Or(i.name, "no name")}
	if i.label != "" {
		words = append(words, "label "+i.label)
	}
	if i.address != "" {
		words = append(words, "at "+i.address)
	}
	return filepath.Base(i.dir) + " (" + strings.Join(words, ", ") + ")"
}

// find returns the one device that is wanted. More than one is an error that lists them.
func (s iioSearch) find() (*iioDevice, error) {
	dirs, _ := filepath.Glob(filepath.Join(s.root, iioDevices, "iio:device*")) // the pattern is no bad one
	var all, found []iioIdentity
	var faults []error
	for _, dir := range dirs {
		i, err := iioIdentify(dir)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) { // then it is just going away
				faults = append(faults, err)
			}
			continue
		}
		all = append(all, i)
		if s.matches(i) {
			found = append(found, i)
		}
	}
	list := func(ids []iioIdentity) string {
		var words []string
		for _, i := range ids {
			words = append(words, i.String())
		}
		return strings.Join(words, ", ")
	}
	switch {
	case len(found) == 1:
		return &iioDevice{s, found[0]}, nil
	case len(found) > 1:
		return nil, fmt.Errorf("%d IIO devices fit: %s; say which in device: by a label, an address as 1-0048, or a path", len(found), list(found))
	case len(faults) > 0:
		return nil, fmt.Errorf("look for an IIO device: %w%s", errors.Join(faults...), iioAdvice(faults[0]))
	case len(all) == 0:
		return nil, fmt.Errorf("there is no IIO device: %s", s.hint(s.want))
	case s.want == "":
		return nil, fmt.Errorf("no IIO device has %s: there are %s; %s", s.what, list(all), s.hint(""))
	}
	return nil, fmt.Errorf("no IIO device %.60q with %s%s: there are %s; %s", s.want, s.what, s.missing(), list(all), s.hint(s.want))
}

// matches reports whether the device is wanted.
func (s iioSearch) matches(i iioIdentity) bool {
	files, err := iioFiles(i.dir)
	if err != nil || !s.fits(files) {
		return false
	}
	if strings.Contains(s.want, "/") {
		want, err := filepath.EvalSymlinks(filepath.Join(s.root, s.want))
		have, err2 := filepath.EvalSymlinks(i.dir)
		return err == nil && err2 == nil && want == have
	}
	return s.want == "" || slices.Contains([]string{i.name, i.label, i.address, filepath.Base(i.dir)}, s.want)
}

// missing says so if what is wanted is a path that leads nowhere.
func (s iioSearch) missing() string {
	if !strings.Contains(s.want, "/") {
		return ""
	}
	if _, err := os.Stat(filepath.Join(s.root, s.want)); errors.Is(err, fs.ErrNotExist) {
		return ", since that path leads nowhere"
	}
	return ""
}

// iioIdentify looks at a device. Its address is the name of the device of the bus that it belongs to: 1-0048 is 0x48 on I2C bus 1,
// spi0.0 the first chip select of SPI bus 0.
func iioIdentify(dir string) (iioIdentity, error) {
	i := iioIdentity{dir: dir}
	var err error
	if i.name, err = iioRead(dir, "name"); errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(dir) // a driver may give it no name
	}
	if err != nil {
		return i, err
	}
	if label, err := iioRead(dir, "label"); err == nil { // kernel 5.8 or later, and only where the device tree has one
		i.label = label
	}
	if link, err := os.Readlink(dir); err == nil {
		if parent := filepath.Base(filepath.Dir(link)); parent != "devices" {
			i.address = parent
		}
	}
	return i, nil
}

// fresh makes sure that the device is there, under whatever number.
func (d *iioDevice) fresh() error {
	if now, err := iioIdentify(d.dir); err == nil && now == d.iioIdentity {
		return nil
	}
	found, err := d.search.find()
	if err != nil {
		return err
	}
	d.iioIdentity = found.iioIdentity
	return nil
}

// iioFiles returns the names of the files of a device, those with shorter names first, so that voltage2 comes before voltage10.
func iioFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return names, nil
}

func iioRead(dir, name string) (string, error) { return sensorFile(filepath.Join(dir, name)) }

// readInt reads a file that holds a whole number, as counts are.
func (d *iioDevice) readInt(name string) (int64, error) {
	text, err := iioRead(d.dir, name)
	if err != nil {
		return 0, fmt.Errorf("%w%s", err, iioAdvice(err))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has %.40q, which is no count", name, text)
	}
	return n, nil
}

// readFloat reads a file that holds a number, as scales are.
func (d *iioDevice) readFloat(name string) (float64, error) {
	text, err := iioRead(d.dir, name)
	if err != nil {
		return 0, fmt.Errorf("%w%s", err, iioAdvice(err))
	}
	return iioNumber(name, text)
}

// write writes a file of the device.
func (d *iioDevice) write(name, value string) error {
	if err := sensorWrite(filepath.Join(d.dir, name), value); err != nil {
		return fmt.Errorf("%w%s", err, iioAdvice(err))
	}
	return nil
}

// iioAdvice says what may be done about an error of the kernel.
func iioAdvice(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return " (the user needs the rights to the files of the device: a udev rule for the subsystem iio gives them to a group)"
	case errors.Is(err, syscall.EBUSY):
		return " (the device's buffer is in use, by this service or by another program)"
	case errors.Is(err, syscall.EROFS):
		return " (sysfs is read-only here: the service's unit must not set ProtectKernelTunables, a container needs /sys writable)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return " (the device was unplugged, or its driver unloaded)"
	case errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ETIMEDOUT):
		return " (the chip does not answer: look at its wiring, power and address)"
	}
	return ""
}

// iioNumber parses a number as the kernel writes it.
func iioNumber(name, text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s has %.40q, which is no number", name, text)
	}
	return v, nil
}

// iioRoot returns what stands before /proc, /sys and /dev.
func iioRoot(d Deps) string { return filepath.Join("/", d.Root) }

// iioAt makes an error about an option that is found with the hardware.
func iioAt(d Deps, path, format string, args ...any) error {
	if d.At == nil {
		return config.At(path, format, args...)
	}
	return d.At(path, format, args...)
}
