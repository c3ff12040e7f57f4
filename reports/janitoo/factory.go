package janitoo

import "rollcall/reports/janitoo/wire"

// entry is an entry point of Janitoo's value factory: what its values are unless a component says otherwise (JANITOO.md §3.5).
type entry struct {
	genre wire.Genre
	kind  wire.Type
	class int
	units string // "": null
	label string
	help  string
	items []string
	def   any
	set   bool // it can be set: is_readonly is false
	poll  int  // seconds; 0: it is not polled
}

// defaultPoll is the poll delay of values of which no component says another, in seconds.
const defaultPoll = 30

// entryOf returns the entry with the name, and whether there is one.
func entryOf(name string) (entry, bool) {
	number := func(units, label, help string) (entry, bool) {
		return entry{genre: wire.User, kind: wire.TypeDecimal, class: wire.CmdSensorMultilevel, units: units, label: label, help: help, poll: defaultPoll}, true
	}
	sensor := func(kind wire.Type, units, label, help string) (entry, bool) {
		e, ok := number(units, label, help)
		e.kind = kind
		return e, ok
	}
	config := func(kind wire.Type, label, help string) (entry, bool) {
		return entry{genre: wire.Config, kind: kind, class: wire.CmdConfiguration, label: label, help: help, set: true}, true
	}
	action := func(kind wire.Type, class int, label, help string, def any, items ...string) (entry, bool) {
		return entry{genre: wire.User, kind: kind, class: class, label: label, help: help, def: def, items: items, set: true, poll: defaultPoll}, true
	}
	binary := func(label, help string) (entry, bool) {
		return entry{genre: wire.User, kind: wire.TypeBool, class: wire.CmdSensorBinary, label: label, help: help, poll: defaultPoll}, true
	}
	switch name {
	case "sensor_float":
		return number("", "Float", "A float sensor")
	case "sensor_temperature":
		return number("°C", "Temp.", "A temperature sensor")
	case "sensor_pressure":
		return number("Pa", "Pressure", "A pressure sensor")
	case "sensor_altitude":
		return number("m", "Alt.", "An altitude sensor")
	case "sensor_voltage":
		return number("V", "Voltage", "A voltage sensor")
	case "sensor_current":
		return number("A", "Current", "A current sensor")
	case "sensor_power":
		return number("W", "Power", "A power sensor")
	case "sensor_percent":
		return number("%", "Percentage", "A percent sensor")
	case "sensor_rotation_speed":
		return number("rpm", "Rot. speed", "A rotation speed sensor")
	case "sensor_frequency":
		return number("MHz", "Frequency", "A frequency sensor")
	case "sensor_humidity":
		return number("%", "humidity", "An humidity sensor")
	case "sensor_distance":
		return number("m", "distance", "A distance sensor")
	case "sensor_string":
		return sensor(wire.TypeString, "", "String", "A string sensor")
	case "sensor_list":
		return sensor(wire.TypeList, "", "List", "A list sensor")
	case "sensor_byte":
		return sensor(wire.TypeByte, "", "Byte", "A byte sensor")
	case "sensor_integer":
		return sensor(wire.TypeInt, "", "Integer", "An integer sensor")
	case "sensor_memory":
		return sensor(wire.TypeInt, "Bytes", "Memory", "An memory sensor")
	case "sensor_orientation":
		return sensor(wire.TypeInt, "°", "Orientation", "An orientation sensor")
	case "sensor_boolean":
		return binary("Boolean", "A boolean sensor")
	case "sensor_presence":
		return binary("Presence", "A presence sensor.")
	case "ip_ping":
		return binary("Ping", "Ping an IP address")
	case "config_string":
		return config(wire.TypeString, "String", "A string")
	case "config_password":
		return config(wire.TypePassword, "Password", "A password")
	case "config_integer":
		return config(wire.TypeInt, "Int", "An integer")
	case "config_byte":
		return config(wire.TypeByte, "Byte", "A byte")
	case "config_float":
		return config(wire.TypeDecimal, "Float", "A float")
	case "config_boolean":
		return config(wire.TypeBool, "Bool", "A boolean")
	case "config_list":
		return config(wire.TypeList, "String", "A string")
	case "config_array":
		return config(wire.TypeArray, "Array", "An array of strings separated by |")
	case "action_string":
		return action(wire.TypeString, wire.CmdAction, "String", "A string", nil)
	case "action_byte":
		return action(wire.TypeByte, wire.CmdAction, "Byte", "A byte", nil)
	case "action_integer":
		return action(wire.TypeInt, wire.CmdAction, "Integer", "An integer", nil)
	case "action_list":
		return action(wire.TypeList, wire.CmdAction, "String", "A string", nil)
	case "action_switch_binary":
		return action(wire.TypeList, wire.CmdSwitchBinary, "Switch", "A switch. Valid values are : ['on', 'off']", "off", "on", "off")
	case "action_switch_multilevel":
		return action(wire.TypeByte, wire.CmdSwitchMultilevel, "dimmer", "A dimmer. A byte from 0 to 100", 0)
	case "transition_fsm":
		e, ok := action(wire.TypeList, wire.CmdFSM, "Transit", "Trigger a transition on the fsm or get the last triggered", nil)
		e.genre, e.poll = wire.Basic, 60
		return e, ok
	case "blink":
		e, ok := action(wire.TypeList, wire.CmdBlink, "Blink", "Blink", "off", "off", "blink", "heartbeat", "info", "notify", "warning", "alert")
		e.genre, e.poll = wire.Basic, 300
		return e, ok
	case "memory": // a plain value, that no factory made
		return entry{genre: wire.User, kind: wire.TypeBool, set: true}, true
	}
	return entry{}, false
}
