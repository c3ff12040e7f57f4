// Package janitoo is the face that Janitoo's own programs see: the host is a controller, its services are nodes, their points values. It
// answers jnt_query, beats as Janitoo's servers do, and takes sets.
//
// It is derived from the descriptions alone. What Janitoo has a name for, a description says (reports.Point.Janitoo): such a point comes
// out as the value of Janitoo's own component, with its uuid, type, units, help and poll delay (catalog.go); all others are derived from
// what they are (generic.go). A request to set a point becomes a command to its service, and its result the answer.
//
// Source of all topics, keys, numbers and texts: JANITOO.md. The wire itself is package wire.
package janitoo

import (
	"errors"
	"fmt"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// Face returns the face.
func Face() reports.Live {
	return reports.Live{
		Name:     "janitoo",
		Doc:      "nodes and values of Janitoo, for jnt_query and jnt_spy",
		Example:  "hadd: 0121\n",
		Defaults: func() any { return &Options{} },
		New: func(options any, h reports.Host) (reports.Bridge, error) {
			switch o := options.(type) {
			case *Options:
				return New(*o, h, time.Now)
			case single:
				return newController(o.Controller, h, time.Now, o.others)
			}
			return nil, fmt.Errorf("janitoo: options are a %T", options)
		},
		Split: func(options any) map[string]any {
			o, ok := options.(*Options)
			if !ok {
				return nil
			}
			out := map[string]any{}
			for name, c := range o.all() {
				out[name] = single{c, others(*o, name)}
			}
			return out
		},
	}
}

// single are the options of one controller.
type single struct {
	Controller
	others map[string]bool // services that others have
}

// Options are those of the configuration.
type Options struct {
	Controller `yaml:",inline"`

	Controllers map[string]Controller `yaml:"controllers" doc:"further controllers, by their number or a name, each for services of its own; the rest is the host's"`
}

// Controller is a controller and its nodes.
type Controller struct {
	Hadd          string            `yaml:"hadd" doc:"the controller's address, as 0121"`
	Bus           string            `yaml:"bus" doc:"the controller's uuid, which begins those of its nodes; default: the host's name"`
	Product       string            `yaml:"product" doc:"the controller's product name; default: what Janitoo calls that bus, or the host's model"`
	Name          string            `yaml:"name" doc:"the controller's name until it is set; default: Default bus name controller"`
	Location      string            `yaml:"location" doc:"the location of the controller and of its nodes until it is set; default: Default location"`
	Heartbeat     reports.Duration  `yaml:"heartbeat" doc:"how often the controller and its nodes say that they are there until it is set; default: 30s"`
	ConfigTimeout reports.Duration  `yaml:"config_timeout" doc:"what config_timeout of the controller is until it is set; default: 3s"`
	Services      []string          `yaml:"services" doc:"services that are its nodes; default: all that no other controller names"`
	Values        map[string]string `yaml:"values" doc:"data of config values of the controller that no point has, by their uuid"`
	Nodes         map[string]Node   `yaml:"nodes" doc:"what is known of nodes, by the name that ends their uuid; default: those that there are, with numbers in the order in which they came"`
}

// Node is what the configuration says of a node.
type Node struct {
	Of            string                      `yaml:"of" doc:"what it is: SERVICE, SERVICE/COMPONENT or SERVICE/COMPONENT@INSTANCE, or fake.component; default: its name"`
	Hadd          string                      `yaml:"hadd" doc:"its address, as 0121/0003, or its number in the controller, as 3; default: the next free one, for good"`
	OID           string                      `yaml:"oid" doc:"its component type; default: the bus and the component"`
	Name          string                      `yaml:"name" doc:"its name until it is set; default: the end of its uuid"`
	Location      string                      `yaml:"location" doc:"its location until it is set; default: the controller's"`
	Heartbeat     reports.Duration            `yaml:"heartbeat" doc:"how often it says that it is there until it is set; default: the controller's"`
	ConfigTimeout reports.Duration            `yaml:"config_timeout" doc:"what its config_timeout is until it is set; default: 3s"`
	Polls         map[string]reports.Duration `yaml:"polls" doc:"how often values are told until it is set, by their uuid; 0s: never"`
	Values        map[string]string           `yaml:"values" doc:"data of config values that no point of the service has, by their uuid, such as pin"`
	Product       []string                    `yaml:"product" doc:"its product name, type and manufacturer; default: what the service says, or the component"`
}

// Validate checks the options.
func (o *Options) Validate() error {
	if err := o.validate(); err != nil {
		return err
	}
	taken := map[int]string{}
	for name, c := range o.all() {
		number, err := wire.ParseController(c.Hadd)
		if err != nil {
			return fmt.Errorf("controllers.%s: %w", name, err)
		}
		if other, has := taken[number]; has {
			return fmt.Errorf("controllers.%s: hadd %s is that of %s too", name, c.Hadd, other)
		}
		taken[number] = name
		if name == "" {
			continue
		}
		if reports.ValidName(name) != nil {
			return fmt.Errorf("controllers.%.40q: only A-Z, a-z, 0-9, _ and - are allowed", name)
		}
		if len(c.Services) == 0 && len(c.Nodes) == 0 {
			return fmt.Errorf("controllers.%s: names no services", name)
		}
		if err := c.validate(); err != nil {
			return fmt.Errorf("controllers.%s: %w", name, err)
		}
	}
	return nil
}

// all returns all controllers by their name, "" for the host's own.
func (o *Options) all() map[string]Controller {
	all := map[string]Controller{"": o.Controller}
	for name, c := range o.Controllers {
		if c.Hadd == "" {
			c.Hadd = name
		}
		if c.Services == nil && c.needsNone() {
			c.Services = []string{}
		}
		all[name] = c
	}
	return all
}

// needsNone reports whether all that the controller's nodes are needs no service.
func (c *Controller) needsNone() bool {
	for _, n := range c.Nodes {
		if _, ok := componentOf(n.Of); !ok {
			return false
		}
	}
	return len(c.Nodes) > 0
}

func (c *Controller) validate() error {
	if c.Hadd == "" {
		return errors.New("hadd is missing: the number of the controller, as 0121")
	}
	number, err := wire.ParseController(c.Hadd)
	if err != nil {
		return err
	}
	if err := seconds("heartbeat", c.Heartbeat); err != nil {
		return err
	}
	if c.Bus != "" && reports.ValidName(c.Bus) != nil {
		return fmt.Errorf("bus %.40q: only A-Z, a-z, 0-9, _ and - are allowed", c.Bus)
	}
	for name, n := range c.Nodes {
		if err := n.validate(number); err != nil {
			return fmt.Errorf("nodes.%s: %w", name, err)
		}
		if reports.ValidName(name) != nil {
			return fmt.Errorf("nodes.%.40q: only A-Z, a-z, 0-9, _ and - are allowed", name)
		}
	}
	return nil
}

// maxDelay is how long a heartbeat, poll delay or config_timeout may be, in seconds (JANITOO.md §3.4).
const maxDelay = 3000

// maxPoll is how long a poll delay may be, in seconds: a day.
const maxPoll = 86400

func seconds(key string, d reports.Duration) error {
	if s := time.Duration(d).Seconds(); s > maxDelay {
		return fmt.Errorf("%s: %s is more than %d s", key, d, maxDelay)
	}
	return nil
}

func (n *Node) validate(ctrl int) error {
	if _, err := n.number(ctrl); err != nil {
		return err
	}
	if len(n.Product) > 3 {
		return fmt.Errorf("product: %d texts, at most 3: name, type, manufacturer", len(n.Product))
	}
	for uuid, d := range n.Polls {
		if time.Duration(d).Seconds() > maxPoll {
			return fmt.Errorf("polls.%s: %s is more than a day", uuid, d)
		}
	}
	return errors.Join(seconds("heartbeat", n.Heartbeat), seconds("config_timeout", n.ConfigTimeout))
}

// number returns the node's number in the controller, 0 for none.
func (n *Node) number(ctrl int) (int, error) {
	if n.Hadd == "" {
		return 0, nil
	}
	if h := wire.Hadd(n.Hadd); h.Valid() {
		if h.Ctrl() != ctrl || h.Node() == 0 {
			return 0, fmt.Errorf("hadd %s is none of a node of controller %04d", n.Hadd, ctrl)
		}
		return h.Node(), nil
	}
	var number int
	if _, err := fmt.Sscanf(n.Hadd+";", "%d;", &number); err != nil || number < 1 || number > wire.MaxNumber {
		return 0, fmt.Errorf("hadd %.40q is neither an address CCCC/NNNN nor a number from 1 to %d", n.Hadd, wire.MaxNumber)
	}
	return number, nil
}
