package agents

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

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

// gpioCure ends every error of the start, with the name of the service.
const gpioCure = "nothing is set up until a good one is sent (udpsrv setup HOST/%s -f FILE)"

// start brings the saved set-up into force or, where there is none, the options of the configuration.
//
// A saved set-up that can't be brought into force is an error, and the options are no way out: they describe how the board
// was wired before. A pin that has become an input since would be driven against what is connected to it. Until somebody
// has looked, the lines stay as they are at boot, which is what the circuit must be safe with anyway; the error says which
// file and what to do. The agent can be set up all the same, so that nobody needs a shell on the board for the repair; the
// file stays as it is until then. The runner tries again as well, for whoever puts the file or the hardware right.
func (a *gpioAgent) start(o gpioOptions) error {
	a.present.options.Chip = o.Chip // for a set-up that names none
	doc, err := a.saved()
	if err != nil {
		a.unmet = func() ([]byte, error) { return nil, err }
		return err
	}
	if doc == nil {
		a.unmet = func() ([]byte, error) { return config.Marshal(o) }
		if err := a.apply(o, nil); err != nil {
			return fmt.Errorf("set up: %w; "+gpioCure+", or the configuration is put right", a.locate(err), a.deps.Service)
		}
		a.log.Info("set-up of the configuration is in force", "lines", len(a.present.lines))
		return nil
	}
	a.unmet = func() ([]byte, error) { return gpioReadable(a.file(), doc) }
	if err := a.restore(doc); err != nil {
		if !strings.Contains(err.Error(), a.file()) {
			err = fmt.Errorf("%s: %w", a.file(), err)
		}
		return fmt.Errorf("saved set-up: %w; "+gpioCure+", or the file is put right, or removed for the set-up of the configuration", err, a.deps.Service)
	}
	a.log.Info("saved set-up is in force", "file", a.file(), "lines", len(a.present.lines))
	return nil
}

// saved reads the saved set-up; nil means that there is none.
func (a *gpioAgent) saved() ([]byte, error) {
	if a.file() == "" {
		return nil, nil
	}
	f, err := os.Open(a.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	doc := []byte{}
	if err == nil {
		defer func() { _ = f.Close() }() // it was only read
		doc, err = io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
	}
	if err != nil {
		return nil, fmt.Errorf("read saved set-up: %w; "+gpioCure, err, a.deps.Service)
	}
	return doc, nil
}

// restore brings a saved set-up into force.
func (a *gpioAgent) restore(doc []byte) error {
	node, err := config.ParseNode(a.file(), doc)
	if err != nil {
		return err
	}
	if node.IsZero() {
		return fmt.Errorf("%s is empty", a.file())
	}
	var kept gpioOptions
	if err := node.Decode(&kept); err != nil {
		return err
	}
	a.present.options.Chip = cmp.Or(kept.Chip, a.present.options.Chip)
	return gpioLocate(node, a.apply(kept, nil))
}

// locate gives an error of the configuration's set-up its file and line.
func (a *gpioAgent) locate(err error) error {
	if f, ok := errors.AsType[*gpioFault](err); ok && a.deps.At != nil {
		return a.deps.At(f.at, "%w", f.err)
	}
	return err
}

// gpioReadable returns a document as it is in its file, if it is text that fits an answer.
func gpioReadable(file string, doc []byte) ([]byte, error) {
	switch {
	case len(doc) > config.MaxBytes:
		return nil, reports.Errorf(reports.CodeBadSetup, "saved set-up %s has more than %d bytes", file, config.MaxBytes)
	case !utf8.Valid(doc) || bytes.ContainsRune(doc, 0):
		return nil, reports.Errorf(reports.CodeBadSetup, "saved set-up %s is no text", file)
	}
	return doc, nil
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

// CurrentSetup returns the set-up in force as a document, or the one that could not be brought into force.
func (a *gpioAgent) CurrentSetup() ([]byte, error) {
	if a.unmet != nil {
		return a.unmet()
	}
	return config.Marshal(a.present.options)
}

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
