package uml_test

import (
	"bytes"
	"testing"

	"rollcall/lab/uml"
)

// TestGuest looks at a guest from inside.
func TestGuest(t *testing.T) {
	t.Parallel()
	r := uml.Boot(t, uml.Options{Binary: "/bin/sh", Args: []string{"-c", `
		exec 2>&1
		echo "guest $ROLLCALL_GUEST in $(pwd)"
		ls -l /dev/gpiochip0; cat /sys/bus/gpio/devices/gpiochip0/dev
		cat /sys/bus/iio/devices/iio:device0/in_voltage0_raw
		cat /proc/mounts; cat /proc/cmdline
		touch /etc/written || echo root is read-only
		touch /tmp/x /run/x /dev/shm/x && echo tmpfs is there
		exit 3`}, Kernel: []string{"pi=2"}}).Wait()
	t.Logf("%s\n%s", r.Output, r.Console)
	if r.Status != 3 {
		t.Errorf("status %d", r.Status)
	}
	_ = bytes.Contains
}
