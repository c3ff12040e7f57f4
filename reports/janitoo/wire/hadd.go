package wire

import (
	"fmt"
	"strconv"
)

// MaxNumber is the greatest number of a controller or node.
const MaxNumber = 9999

// Hadd is an address as it stands on the wire: CCCC/NNNN. Two are the same only if their texts are: 121/1 is not 0121/0001. One that
// came from outside may be any text; Valid tells.
type Hadd string

// NewHadd returns the address of a node, or with node 0 of a controller; both are in 0 to MaxNumber.
func NewHadd(ctrl, node int) Hadd { return Hadd(fmt.Sprintf("%04d/%04d", ctrl, node)) }

// ParseHadd returns the text as an address, or an error unless it is CCCC/NNNN.
func ParseHadd(s string) (Hadd, error) {
	if h := Hadd(s); h.Valid() {
		return h, nil
	}
	return "", malformed("%.40q is no address CCCC/NNNN", s)
}

// ParseController returns the number of a controller as a configuration names it: 0121, or 0121/0000.
func ParseController(s string) (int, error) {
	h := Hadd(s)
	if len(s) == 4 {
		h += "/0000"
	}
	if !h.Valid() || h.Node() != 0 {
		return 0, malformed("%.40q is no controller CCCC", s)
	}
	return h.Ctrl(), nil
}

// Valid reports whether the address is CCCC/NNNN.
func (h Hadd) Valid() bool {
	if len(h) != 9 || h[4] != '/' {
		return false
	}
	for i := range len(h) {
		if i != 4 && (h[i] < '0' || h[i] > '9') {
			return false
		}
	}
	return true
}

// Ctrl returns the number of the controller, -1 where the address is not valid.
func (h Hadd) Ctrl() int { return h.part(0) }

// Node returns the number of the node, -1 where the address is not valid.
func (h Hadd) Node() int { return h.part(5) }

func (h Hadd) part(at int) int {
	if !h.Valid() {
		return -1
	}
	n, err := strconv.Atoi(string(h[at : at+4]))
	if err != nil {
		return -1 // four digits
	}
	return n
}

// Controller returns the address of the node's controller: CCCC/0000.
func (h Hadd) Controller() Hadd {
	if !h.Valid() {
		return ""
	}
	return h[:5] + "0000"
}

// IsController reports whether it is the address of a controller.
func (h Hadd) IsController() bool { return h.Valid() && h[5:] == "0000" }
