package pwm

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// advice says what may be done about an error of the kernel.
func advice(file string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return " (the user must be in the group gpio, and udev must give the group these files, as Raspberry Pi OS does by" +
			" 99-com.rules)"
	case errors.Is(err, syscall.EROFS):
		return " (sysfs is read-only here: the service's unit must not set ProtectKernelTunables, a container needs /sys writable)"
	case errors.Is(err, syscall.EBUSY) && file == "export":
		return " (a driver of the kernel uses this channel, for a fan, a backlight or audio)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return " (somebody has unexported the channel, or its driver is gone)"
	case errors.Is(err, syscall.EINVAL) && file == "period":
		return " (the chip cannot make this period)"
	case (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP)) && file == "polarity":
		return " (the chip cannot invert)"
	}
	return ""
}

// enable is what makes channels of a Raspberry Pi appear.
const enable = "put dtoverlay=pwm-2chan into /boot/firmware/config.txt (before Debian 12: /boot/config.txt) and restart"

// present says which chips there are.
func present(root string) string {
	chips, _ := filepath.Glob(filepath.Join(root, classPath, "pwmchip*")) // the pattern is no bad one
	if len(chips) == 0 {
		return ", and no other: " + enable
	}
	for i, c := range chips {
		chips[i] = filepath.Base(c)
	}
	return "; there are " + strings.Join(chips, ", ")
}
