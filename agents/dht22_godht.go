//go:build cgo && godht

package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/d2r2/go-dht"
	logger "github.com/d2r2/go-logger"
)

// The driver go-dht, in builds that ask for it. Of the library only ReadDHTxx is used: the functions that try again take signals of
// the whole process for themselves and wait without end. It exports the pin in sysfs and polls it, by numbers of at most two
// digits, while Linux 6.6 and later begin to count at 512 (raspberrypi/linux #6084): it can't work there, and is refused.

const dht22Sysfs = "sys/class/gpio"

// dht22GoDHTMost is the highest number of a line that the library can name: its buffer has room for two digits.
const dht22GoDHTMost = 99

// dht22GoDHT reads a sensor by the library.
type dht22GoDHT struct {
	kind dht.SensorType
	pin  int
	log  *slog.Logger
}

func newDHT22GoDHT(o dht22Options, d Deps) (dht22Driver, error) {
	pin, err := strconv.Atoi(o.Pin)
	if err != nil || pin < 0 || pin > dht22GoDHTMost {
		return nil, iioAt(d, "pin", "go-dht needs the number of the line, as 4, not %.40q", o.Pin)
	}
	if err := dht22SysfsHas(iioRoot(d), pin); err != nil {
		return nil, iioAt(d, "driver", "go-dht can't work here: %w; driver: iio or driver: edges can", err)
	}
	g := &dht22GoDHT{kind: dht.DHT22, pin: pin, log: d.Log}
	if o.Model == dht22Model11 {
		g.kind = dht.DHT11
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	return g, nil
}

// dht22SysfsHas returns why the library would not find the line in sysfs by its number on the header's chip.
func dht22SysfsHas(root string, pin int) error {
	if _, err := os.Stat(filepath.Join(root, dht22Sysfs, "export")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("this kernel has no /%s", dht22Sysfs)
	} else if err != nil {
		return err
	}
	chips, _ := filepath.Glob(filepath.Join(root, dht22Sysfs, "gpiochip*")) // the pattern is no bad one
	var bases []string
	for _, chip := range chips {
		base, err := sensorFile(filepath.Join(chip, "base"))
		count, err2 := sensorFile(filepath.Join(chip, "ngpio"))
		if err != nil || err2 != nil {
			continue // it is just going away
		}
		lines, err := strconv.Atoi(count)
		if err == nil && base == "0" && pin < lines {
			return nil
		}
		bases = append(bases, base)
	}
	return fmt.Errorf("no chip in /%s counts its lines from 0 and has line %d (they begin at %s), as no kernel after 6.1 has on a Raspberry Pi",
		dht22Sysfs, pin, strings.Join(bases, ", "))
}

// read reads the sensor. It takes up to a third of a second and can't be interrupted.
func (g *dht22GoDHT) read(ctx context.Context) (v dht22Value, doubt bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	b := dht22Library()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to(g.log)
	celsius, percent, err := dht.ReadDHTxx(g.kind, g.pin, false)
	if err != nil {
		return v, false, fmt.Errorf("%w: %w", errDHT22Read, err)
	}
	return dht22Value{dht22Tenths(celsius), dht22Tenths(percent)}, false, nil
}

// dht22Tenths makes 23.4 of what a float32 holds of it.
func dht22Tenths(v float32) float64 { return math.Round(float64(v)*10) / 10 }

func (g *dht22GoDHT) close() error { return nil }

// dht22Library is the library as the process has it: it logs by a logger of its own, of which there is one, and which nothing can be
// taken from. One sensor is read at a time, so that what is logged is that sensor's.
var dht22Library = sync.OnceValue(func() *dht22Bridge {
	b := &dht22Bridge{}
	logger.AddCustomLog(b, false, logger.DebugLevel)
	return b
})

// dht22Bridge brings what the library logs to a slog.Logger.
type dht22Bridge struct {
	mu  sync.Mutex // held while the library works
	log *slog.Logger
}

// to says who gets what is logged from now on. The library prints it to the standard output too, and can't be told not to, so that
// it may speak only where somebody wants to hear it.
func (b *dht22Bridge) to(log *slog.Logger) {
	b.log = log
	level := logger.WarnLevel
	if log.Enabled(context.Background(), slog.LevelDebug) {
		level = logger.DebugLevel
	}
	_ = logger.ChangePackageLogLevel("dht", level) // fails for a package that is not there
}

// Write takes a line of the log.
func (b *dht22Bridge) Write(line []byte) (int, error) {
	b.log.Debug("go-dht", "text", string(bytes.TrimSpace(line)))
	return len(line), nil
}
