package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/gpio"
)

// sensorChip opens the GPIO chip that an option names, or that of the board's header, and says what it is.
func sensorChip(d Deps, name string) (gpio.Chip, gpio.ChipInfo, error) {
	chip, err := sensorOpenChip(d, name)
	if err != nil {
		return nil, gpio.ChipInfo{}, err
	}
	info, err := chip.Info()
	if err != nil {
		return nil, gpio.ChipInfo{}, errors.Join(err, chip.Close())
	}
	return chip, info, nil
}

func sensorOpenChip(d Deps, name string) (gpio.Chip, error) {
	open := d.OpenChip
	switch {
	case open == nil && name != "":
		return gpio.Open(name)
	case open == nil:
		chip, _, err := gpio.OpenHeader()
		return chip, err
	case name != "":
		return open(name)
	}
	var errs []error
	for _, label := range gpio.HeaderLabels() {
		chip, err := open(label)
		if err == nil {
			return chip, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no chip is named and there is none of a Raspberry Pi's header: %w", errors.Join(errs...))
}

// sensorLine requests the line that a pin names.
func sensorLine(d Deps, chip gpio.Chip, info gpio.ChipInfo, pin string, o gpio.LineOptions) (gpio.Line, error) {
	offset, err := info.Find(pin)
	if err != nil {
		return nil, err
	}
	o.Consumer = "rollcall-" + d.Service
	return chip.Request(offset, o)
}

// sensorWait waits for a time, or until ctx ends.
func sensorWait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
