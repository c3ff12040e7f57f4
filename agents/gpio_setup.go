package agents

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"rollcall/config"
	"rollcall/reports"
)

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
	file := a.file(gpioSetupFile)
	a.unmetIn = file
	a.tidy()
	doc, err := gpioReadSetup(file)
	a.loadKept(doc)
	if err != nil {
		err = fmt.Errorf("read saved set-up: %w; "+gpioCure, err, a.deps.Service)
		a.unmet = func() ([]byte, error) { return nil, err }
		return err
	}
	if doc == nil {
		a.unmetIn = "the configuration's set-up"
		a.unmet = func() ([]byte, error) { return config.Marshal(o) }
		if err := a.apply(o, nil); err != nil {
			return fmt.Errorf("set up: %w; "+gpioCure+", or the configuration is put right", a.locate(err), a.deps.Service)
		}
		a.log.Info("set-up of the configuration is in force", "lines", len(a.present.lines))
		return nil
	}
	a.unmet = func() ([]byte, error) { return gpioReadable(file, doc) }
	if err := a.restore(doc); err != nil {
		if !strings.Contains(err.Error(), file) {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return fmt.Errorf("saved set-up: %w; "+gpioCure+", or the file is put right, or removed for the set-up of the configuration", err, a.deps.Service)
	}
	a.log.Info("saved set-up is in force", "file", file, "lines", len(a.present.lines))
	return nil
}

// gpioReadSetup reads a file that there may be.
func gpioReadSetup(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	doc, err := gpioRead(file)
	if err == nil && bytes.HasPrefix(doc, []byte(gpioHead)) && !bytes.HasSuffix(bytes.TrimRight(doc, " \r\n"), []byte(gpioTail)) {
		return nil, fmt.Errorf("%s:%d: the file is cut off: its last line is not %q", file, bytes.Count(doc, []byte("\n"))+1, gpioTail)
	}
	return doc, err
}

// The first and the last line of a saved set-up: what is left of one that a damaged disk has cut off could be a set-up, too, but for its
// interlocks. One that a person has written needs neither.
const (
	gpioHead = "# Saved by Rollcall. It is whole only with its last line."
	gpioTail = "# end"
)

// gpioFrame puts a set-up between its first and its last line.
func gpioFrame(doc []byte) []byte {
	return slices.Concat([]byte(gpioHead+"\n"), doc, []byte(gpioTail+"\n"))
}

// restore brings a saved set-up into force.
func (a *gpioAgent) restore(doc []byte) error {
	node, kept, err := gpioParseSaved(a.file(gpioSetupFile), doc)
	if err != nil {
		return err
	}
	a.present.options.Chip = cmp.Or(kept.Chip, a.present.options.Chip)
	if err := a.apply(kept, nil); err != nil {
		return gpioLocate(node, err)
	}
	a.retainTotals() // a power cut may have come before
	return nil
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

// currentSetup returns the set-up in force, or the one that could not be brought into force.
func (a *gpioAgent) currentSetup() ([]byte, error) {
	if a.unmet != nil {
		return a.unmet()
	}
	return config.Marshal(a.present.options)
}

// base returns the set-up in force for something to be added to it. While another one waits there is none: what was added would be
// saved in its place.
func (a *gpioAgent) base() (gpioOptions, error) {
	if a.unmet != nil {
		return gpioOptions{}, reports.Errorf(reports.CodeBadSetup,
			"no set-up is in force: send a whole one (setup), or put right what keeps %s from being brought into force", a.unmetIn)
	}
	return a.present.options.clone(), nil
}

// change brings other options into force and saves them, or changes nothing. An error of theirs gets its place by locate.
func (a *gpioAgent) change(o gpioOptions, locate func(error) error) error {
	if a.file(gpioSetupFile) == "" {
		return reports.Errorf(reports.CodeDevice, "setup: there is no state_dir to save it in")
	}
	if o.Chip == "" {
		o.Chip = a.present.options.Chip
	}
	err := a.apply(o, a.save)
	if err == nil {
		a.retainTotals()
	}
	if _, ok := errors.AsType[*gpioFault](err); ok {
		return reports.Errorf(reports.CodeBadSetup, "%w", locate(err))
	}
	return err
}

// save saves a set-up that has been taken.
func (a *gpioAgent) save(t *gpioTaking) error {
	doc, err := config.Marshal(t.next.options)
	doc = gpioFrame(doc)
	if err == nil {
		err = a.stageKept(t, doc)
	}
	if err == nil {
		err = a.replaceSetup(t, doc)
	}
	if err != nil {
		return reports.Errorf(gpioSaveCode(err), "save set-up: %w", err)
	}
	return nil
}

// apply brings a set-up into force, saves it and describes it; with an error everything is as before.
func (a *gpioAgent) apply(o gpioOptions, save func(*gpioTaking) error) error {
	next, err := a.plan(o)
	if err != nil {
		return a.failed(err)
	}
	t := gpioTaking{a: a, next: &next}
	if save != nil { // while nobody waits for the agent, at the start, it can wait
		err = a.unprepared(next.lines)
	}
	if err == nil {
		err = t.take()
	}
	if err == nil && save != nil {
		err = save(&t)
	}
	if err != nil {
		err = errors.Join(err, t.back())
		if next.chip != a.present.chip {
			err = errors.Join(err, next.chip.Close())
		}
		return a.failed(err)
	}
	a.commit(next, &t)
	return nil
}

// gpioSaveCode returns the code of a set-up that could not be saved.
func gpioSaveCode(err error) string {
	if _, coded := errors.AsType[*reports.Error](err); coded {
		return reports.CodeOf(err)
	}
	return reports.CodeDevice
}
