//go:build linux

package gpio_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/gpio"
)

// TestOpenHere opens what no host has. Which chips this host has is its own affair; that they are named is not.
func TestOpenHere(t *testing.T) {
	t.Parallel()
	chips, err := filepath.Glob("/dev/gpiochip*")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gpiochip0")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "no such label", "gpiochip12345", "/dev/gpiochip12345", "/dev/null", file, "./x", "/", "\x00"} {
		c, err := gpio.Open(name)
		if err == nil {
			t.Errorf("Open(%q) = %v, want an error", name, c)
			continue
		}
		text := err.Error()
		if len(chips) == 0 && !strings.Contains(text, "this host has no GPIO chip that its kernel knows: no /dev/gpiochip*") {
			t.Errorf("Open(%q): error %q does not say that there is no chip", name, text)
		}
		for _, path := range chips {
			if !strings.Contains(text, filepath.Base(path)) && !strings.Contains(text, "group gpio") {
				t.Errorf("Open(%q): error %q does not name %s", name, text, path)
			}
		}
	}
}

// TestOpenHeaderHere wants the chip of a Raspberry Pi's header, or to know what is here instead.
func TestOpenHeaderHere(t *testing.T) {
	t.Parallel()
	c, label, err := gpio.OpenHeader()
	if err == nil {
		if info, err := c.Info(); err != nil || info.Label != label || !info.IsHeader() {
			t.Errorf("OpenHeader() = %v, %s, %v, want the chip of a header", info, label, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	text := err.Error()
	if !strings.Contains(text, "open the chip of the header") || !strings.Contains(text, "gpiochip") && !strings.Contains(text, "group gpio") {
		t.Errorf("OpenHeader(): error %q, want what is here", text)
	}
}
