package agents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/reports"
)

// gpioHeaderChips are the labels of the chips of a Raspberry Pi's header: Pi 5, Pi 4, all earlier ones and the Zeros.
var gpioHeaderChips = [...]string{"pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"}

// file returns where the set-up is saved, or "".
func (a *gpioAgent) file() string {
	if a.deps.StateDir == "" {
		return ""
	}
	return filepath.Join(a.deps.StateDir, a.deps.Service+".setup.yaml")
}

// start brings the saved set-up into force or, where there is none, the options of the configuration.
//
// A saved set-up that can't be brought into force is an error, and the options are no way out: they describe how the board
// was wired before. A pin that has become an input since would be driven against what is connected to it. Until somebody
// has looked, the lines stay as they are at boot, which is what the circuit must be safe with anyway; the error says which
// file and what to do, the runner publishes it and tries again, so that nothing has to be restarted after the repair.
func (a *gpioAgent) start(o gpioOptions) error {
	node, saved, err := a.saved()
	if err != nil {
		return err
	}
	if !saved {
		if err := a.apply(o, nil); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		a.log.Info("set-up of the configuration is in force", "lines", len(a.present.lines))
		return nil
	}
	var kept gpioOptions
	if err = node.Decode(&kept); err == nil {
		err = gpioLocate(node, a.apply(kept, nil))
	}
	if err != nil {
		return gpioRepair(a.file(), err)
	}
	a.log.Info("saved set-up is in force", "file", a.file(), "lines", len(a.present.lines))
	return nil
}

// saved reads the saved set-up, if there is one.
func (a *gpioAgent) saved() (node config.Node, ok bool, err error) {
	if a.file() == "" {
		return node, false, nil
	}
	doc, err := os.ReadFile(a.file())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return node, false, nil
	case err != nil:
		return node, false, fmt.Errorf("read saved set-up: %w", err)
	}
	node, err = config.ParseNode(a.file(), doc)
	switch {
	case err != nil:
		return node, false, gpioRepair(a.file(), err)
	case node.IsZero():
		return node, false, gpioRepair(a.file(), fmt.Errorf("%s is empty", a.file()))
	}
	return node, true, nil
}

// gpioRepair adds to an error of the saved set-up what can be done.
func gpioRepair(file string, err error) error {
	if !strings.Contains(err.Error(), file) {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Errorf("saved set-up: %w; nothing is set up until the file is put right, or removed for the set-up of the configuration", err)
}

// gpioLocate gives the error of a set-up the line of the document where it has one.
func gpioLocate(node config.Node, err error) error {
	if f, ok := errors.AsType[*gpioFault](err); ok {
		return node.Errorf(f.at, "%w", f.err)
	}
	return err
}

// Setup brings a set-up document into force and saves it, or changes nothing. A line whose wiring stays the same is not
// touched and keeps its level, also when only its initial level is another: that counts when a line is taken.
func (a *gpioAgent) Setup(ctx context.Context, doc []byte) error {
	node, err := config.ParseNode("setup", doc)
	var o gpioOptions
	if err == nil {
		err = node.Decode(&o)
	}
	switch {
	case err != nil:
		return reports.Errorf(reports.CodeBadSetup, "%w", err)
	case node.IsZero():
		return reports.Errorf(reports.CodeBadSetup, "setup: the document is empty; {} gives all lines back")
	case a.file() == "":
		return reports.Errorf(reports.CodeDevice, "setup: there is no state_dir to save it in")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if o.Chip == "" {
		o.Chip = a.present.options.Chip
	}
	err = a.apply(o, a.save)
	if f, ok := errors.AsType[*gpioFault](err); ok {
		return reports.Errorf(reports.CodeBadSetup, "%w", gpioLocate(node, f))
	}
	return err
}

// CurrentSetup returns the set-up in force as a document.
func (a *gpioAgent) CurrentSetup() ([]byte, error) { return config.Marshal(a.present.options) }

func (a *gpioAgent) save(o gpioOptions) error {
	doc, err := config.Marshal(o)
	if err == nil {
		err = config.Save(a.file(), doc)
	}
	if err != nil {
		return fmt.Errorf("save set-up: %w", err)
	}
	return nil
}

// apply brings a set-up into force, saves it and describes it; with an error everything is as before.
func (a *gpioAgent) apply(o gpioOptions, save func(gpioOptions) error) error {
	next, err := a.plan(o)
	if err != nil {
		return err
	}
	undo, err := a.take(next)
	if err == nil && save != nil {
		err = save(next.options)
	}
	if err != nil {
		for _, back := range slices.Backward(undo) {
			err = errors.Join(err, back())
		}
		if next.chip != a.present.chip {
			err = errors.Join(err, next.chip.Close())
		}
		return err
	}
	a.commit(next)
	return nil
}

// plan checks a set-up against the chip and makes the state that it asks for, with no line held yet.
func (a *gpioAgent) plan(o gpioOptions) (next gpioState, err error) {
	next = gpioState{options: o, chip: a.present.chip}
	if next.chip == nil || o.Chip != a.present.options.Chip {
		if next.chip, next.options.Chip, err = a.openChip(o.Chip); err != nil {
			return next, &gpioFault{"chip", err}
		}
	}
	defer func() {
		if err != nil && next.chip != a.present.chip {
			err = errors.Join(err, next.chip.Close())
		}
	}()
	info, err := next.chip.Info()
	if err != nil {
		return next, fmt.Errorf("read chip %s: %w", next.options.Chip, err)
	}
	next.name = info.Name
	if next.chip != a.present.chip && info.Name == a.present.name { // the same chip, spelt otherwise
		if err := next.chip.Close(); err != nil {
			return next, err
		}
		next.chip = a.present.chip
	}
	if next.lines, err = o.lines(info); err != nil {
		return next, err
	}
	for _, l := range next.lines {
		ours := next.chip == a.present.chip && a.present.at(l.wiring.offset) != nil
		if is := info.Lines[l.wiring.offset]; is.Used && !ours {
			return next, &gpioFault{l.at + ".pin", fmt.Errorf("line %d is held by %.40q", l.wiring.offset, is.Consumer)}
		}
	}
	return next, nil
}

// openChip opens the chip that a set-up names, or the header's.
func (a *gpioAgent) openChip(name string) (gpio.Chip, string, error) {
	if name != "" {
		chip, err := a.open(name)
		return chip, name, err
	}
	var first error
	for _, label := range gpioHeaderChips {
		chip, err := a.open(label)
		if err == nil {
			return chip, label, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", fmt.Errorf("no chip is named and there is none of a Raspberry Pi's header: %w", first)
}
