package config

import (
	"fmt"

	"rollcall/reports/janitoo/wire"
)

// Janitoo says what the host does for the Janitoo network on its broker, beside what it says there itself ("faces: janitoo:").
type Janitoo struct {
	Network string `yaml:"network" doc:"keep the map of the network: primary, secondary, which stands in for the primary when that is gone, or off"`
	Hadd    string `yaml:"hadd" doc:"address of the keeper of the map, as 0002; each has its own; default: 0001 for the primary"`
	HomeID  string `yaml:"home_id" doc:"name of the network"`
	Leases  bool   `yaml:"leases" doc:"give addresses to hosts and nodes that ask for one, and find them by address, name and command class"`
}

// The roles in a Janitoo network.
const (
	JanitooPrimary   = "primary"
	JanitooSecondary = "secondary"
)

// check also fills in the primary's address.
func (j *Janitoo) check() error {
	switch j.Network {
	case Off:
		if j.Hadd != "" {
			return At("janitoo.hadd", "is for the keeper of the map, and network is off")
		}
		return nil
	case JanitooPrimary:
		if j.Hadd == "" {
			j.Hadd = "0001"
		}
	case JanitooSecondary:
		if j.Hadd == "" {
			return At("janitoo.network", "is secondary, which needs an address of its own beside it: hadd")
		}
	default:
		return At("janitoo.network", "%s is none of primary, secondary, off", show(j.Network))
	}
	if _, err := wire.ParseController(j.Hadd); err != nil {
		return At("janitoo.hadd", "%s is no address of a controller, such as 0001", show(j.Hadd))
	}
	return checkText("janitoo.home_id", j.HomeID, false)
}

// Address returns the address of the keeper of the map, "" where there is none.
func (j Janitoo) Address() wire.Hadd {
	n, err := wire.ParseController(j.Hadd)
	if err != nil {
		return "" // check has refused it
	}
	return wire.NewHadd(n, 0)
}

// checkJanitoo returns an error where what anyone may publish for Janitoo would be below this host's own name: that of one of
// the first words of Janitoo's topics (JANITOO.md §1.1).
func (c *Config) checkJanitoo() error {
	switch c.Host {
	case "broadcast", "dhcp", "nodes", "reply", "resolv", "values":
		if c.Broker.ListenJanitoo != Off {
			return fmt.Errorf("opens the topics of Janitoo to anyone, and %q, the name of this host, is one of their words", c.Host)
		}
	}
	return nil
}
