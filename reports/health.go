package reports

import (
	"encoding/json"
	"time"
)

// Health is how a service has done since it was started: what its topic status/health says. The counters only grow, and begin anew
// with Since. A program in any language may publish it, or a part of it.
type Health struct {
	Since         time.Time `json:"since"`          // when the service was started
	Reads         uint64    `json:"reads"`          // points that were read
	ReadErrors    uint64    `json:"read_errors"`    // points that could not be
	Events        uint64    `json:"events"`         // readings that the device gave by itself
	Commands      uint64    `json:"commands"`       // get, set, control and setup that were answered
	CommandErrors uint64    `json:"command_errors"` // of them those that were refused or failed
	Publishes     uint64    `json:"publishes"`      // states and events that were published
	Failures      uint64    `json:"failures"`       // how often the agent was taken out of service
	Connects      uint64    `json:"connects"`       // connections to the broker: all but one are reconnects
	Dropped       uint64    `json:"dropped"`        // messages that a full queue has lost
}

// HealthTail is where the health of a service stands below its topic: status is no word that a point can begin with.
const HealthTail = "status/health"

// maxHealth bounds the payload of a health, in bytes.
const maxHealth = 4096

// ParseHealth reads a health; ok is false for what is none.
func ParseHealth(payload []byte) (h Health, ok bool) {
	if len(payload) == 0 || len(payload) > maxHealth || json.Unmarshal(payload, &h) != nil {
		return Health{}, false
	}
	return h, true
}

// Counter is a number of a Health with its name and what it counts.
type Counter struct {
	Name, Help string
	Value      uint64
}

// Counters returns the counters of the health, always in the same order.
func (h Health) Counters() []Counter {
	return []Counter{
		{"reads", "Points of the service that were read.", h.Reads},
		{"read_errors", "Points of the service that could not be read.", h.ReadErrors},
		{"events", "Readings that the device of the service gave by itself.", h.Events},
		{"commands", "Commands that the service has answered.", h.Commands},
		{"command_errors", "Commands that the service has refused, or that failed.", h.CommandErrors},
		{"publishes", "States and events that the service has published.", h.Publishes},
		{"failures", "How often the agent of the service was taken out of service.", h.Failures},
		{"connects", "Connections of the service to the broker.", h.Connects},
		{"dropped", "Messages of the service that a full queue has lost.", h.Dropped},
	}
}

// HealthSchema returns the JSON Schema of a Health; a program may leave counters out.
func HealthSchema() Object {
	properties := Object{"since": Object{"type": "string", "format": "date-time", "description": "When the service was started."}}
	for _, c := range (Health{}).Counters() {
		properties[c.Name] = Object{"type": "integer", "minimum": 0, "description": c.Help}
	}
	return Object{"type": "object", "properties": properties}
}
