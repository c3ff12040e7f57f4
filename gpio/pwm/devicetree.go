package pwm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// treePath is the device tree that the kernel runs with, overlays included; /proc/device-tree is a link to it.
const treePath = "sys/firmware/devicetree/base"

// cellSize is the size of a cell of the device tree, which is big-endian.
const cellSize = 4

// pin is a line in a pin setting.
type pin struct {
	offset int
	legacy uint32 // its brcm,function
	name   string // its function by the generic binding, or "" if it is set by brcm,function
}

func (p pin) String() string {
	if p.name == "" {
		return fmt.Sprintf("%d (function %d)", p.offset, p.legacy)
	}
	return fmt.Sprintf("%d (%s)", p.offset, p.name)
}

// pinsOf returns the lines of the pin setting that the kernel made for a node when its driver began: its state "default", see
// Documentation/devicetree/bindings/pinctrl/pinctrl-bindings.txt.
func pinsOf(root, node string) ([]pin, error) {
	names, err := property(node, "pinctrl-names")
	if err != nil {
		return nil, err
	}
	state := max(0, slices.Index(words(names), "default"))
	handles, err := cells(node, "pinctrl-"+strconv.Itoa(state))
	if err != nil {
		return nil, err
	}
	nodes, err := withHandles(filepath.Join(root, treePath), handles)
	if err != nil {
		return nil, err
	}
	var pins []pin
	for _, n := range nodes {
		list, err := pinsIn(n)
		if err != nil {
			return nil, err
		}
		pins = append(pins, list...)
	}
	return pins, nil
}

// withHandles returns the nodes that have one of the handles, and those right below them, which belong to the same setting.
func withHandles(tree string, handles []uint32) ([]string, error) {
	var nodes []string
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		handle, err := cells(path, "phandle")
		if err != nil {
			return err
		}
		wanted := len(handle) == 1 && slices.Contains(handles, handle[0])
		if wanted || slices.Contains(nodes, filepath.Dir(path)) {
			nodes = append(nodes, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the device tree: %w", err)
	}
	return nodes, nil
}

// pinsIn returns the lines that one node sets.
func pinsIn(node string) ([]pin, error) {
	legacy, err := legacyPins(node)
	if err != nil {
		return nil, err
	}
	names, err := property(node, "pins")
	if err != nil {
		return nil, err
	}
	function, err := property(node, "function")
	if err != nil {
		return nil, err
	}
	pins := legacy
	for _, name := range words(names) {
		offset, ok := number(strings.TrimPrefix(name, "gpio"))
		if f := words(function); ok && len(f) == 1 {
			pins = append(pins, pin{offset: offset, name: f[0]})
		}
	}
	return pins, nil
}

// legacyPins returns the lines of brcm,pins. Their functions are one for all or one for each.
func legacyPins(node string) ([]pin, error) {
	offsets, err := cells(node, "brcm,pins")
	if err != nil {
		return nil, err
	}
	functions, err := cells(node, "brcm,function")
	if err != nil {
		return nil, err
	}
	var pins []pin
	for i, offset := range offsets {
		switch len(functions) {
		case 1:
			pins = append(pins, pin{offset: int(offset), legacy: functions[0]})
		case len(offsets):
			pins = append(pins, pin{offset: int(offset), legacy: functions[i]})
		}
	}
	return pins, nil
}

// property returns a property of a node, or nothing if the node does not have it.
func property(node, name string) ([]byte, error) {
	text, err := readFile(filepath.Join(node, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return []byte(text), err
}

// cells returns a property that is a list of numbers.
func cells(node, name string) ([]uint32, error) {
	b, err := property(node, name)
	if err != nil {
		return nil, err
	}
	if len(b)%cellSize != 0 {
		return nil, fmt.Errorf("read the device tree: %s of %s has %d bytes, which are no cells", name, filepath.Base(node), len(b))
	}
	var list []uint32
	for ; len(b) > 0; b = b[cellSize:] {
		list = append(list, binary.BigEndian.Uint32(b))
	}
	return list, nil
}

// words returns a property that is a list of strings.
func words(b []byte) []string {
	text := strings.TrimSuffix(string(b), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}
