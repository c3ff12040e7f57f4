package pwm

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Prepare exports a channel of /sys/class/pwm/pwmchipN below root, if it is not, and waits until its files can be written: until udev
// has given them to the user's group, for two seconds at most, or for ctx. So Hardware need not wait while its caller holds what
// others want (Options.Prepared); what is wrong it says. The function that is returned takes the export back where no program of
// ours has the channel by then.
func Prepare(ctx context.Context, root string, chip, channel int) (undo func() error) {
	return prepare(ctx, &hardware{files: folder(filepath.Join(root, classPath, "pwmchip"+strconv.Itoa(chip))), chip: chip, channel: channel})
}

func prepare(ctx context.Context, h *hardware) (undo func() error) {
	undo = func() error { return nil }
	if h.check() != nil {
		return undo
	}
	exported, err := h.export(time.Now()) // the folder may be late
	if exported {
		undo = h.unprepare
	}
	if err != nil && !exported {
		return undo
	}
	late := time.NewTimer(settleWithin)
	defer late.Stop()
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for !h.writable() {
		select {
		case <-ctx.Done():
			return undo
		case <-late.C:
			return undo
		case <-ticker.C:
		}
	}
	return undo
}

// writable reports whether the wait for the channel's files is over.
func (h *hardware) writable() bool {
	for _, name := range []string{"period", "duty_cycle", "polarity", "enable"} {
		if err := h.files.writable(h.file(name)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return false
		}
	}
	return true
}

// unprepare takes an export back.
func (h *hardware) unprepare() error {
	held, err := h.files.lock("pwm" + strconv.Itoa(h.channel))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err == nil {
		err = held.Close()
	}
	return h.wrap("unexport", errors.Join(err, h.write("unexport", strconv.Itoa(h.channel))))
}
