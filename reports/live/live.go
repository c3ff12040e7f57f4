// Package live lists the faces that a host can speak beside its own protocol.
//
// To add one, write one package below reports/ with `func Face() reports.Live`, and one line in All: udpmon runs it where the
// configuration names it under "faces", and docs/configuration.md has its options (make docs). Its methods return what is to be
// published and do no I/O; see reports.Bridge.
package live

import (
	"rollcall/reports"
	"rollcall/reports/homeassistant"
	"rollcall/reports/homie"
	"rollcall/reports/janitoo"
)

// All returns all faces that live, by name.
func All() []reports.Live {
	return []reports.Live{homeassistant.Face(), homie.Face(), janitoo.Face()}
}
