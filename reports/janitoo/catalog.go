package janitoo

import (
	"encoding/json"

	"rollcall/reports/janitoo/wire"
)

// component is a component of Janitoo's: what its nodes and values are like (JANITOO.md §7). A description names it (reports.Alias).
type component struct {
	product [3]string // name, type, manufacturer
	values  []spec
}

// spec is a value of a component.
type spec struct {
	uuid, entry string
	genre       wire.Genre // 0: the entry's
	class       int        // -1: the entry's
	label, help string     // "": the entry's
	units       string     // "": the entry's
	poll        int        // 0: the entry's
	def         any
	items       []string
	config      *instances // each instance is told apart by a text, which stands in <uuid>_config
	extra       map[string]json.RawMessage

	factor float64 // what the point's number is multiplied by; 0: 1
	asText bool    // numbers stay texts, as Janitoo's component has them
	whole  bool    // numbers without fraction stay whole
	from   source
}

// instances is the value <uuid>_config of a value.
type instances struct {
	label, help string
	kind        wire.Type
}

// source says where the data of a value comes from.
type source int

const (
	fromPoint  source = iota // a point of the service; null where it has none
	fromConfig               // it is the text that tells the instance apart
	fromState                // true while the node is online
	fromMemory               // what it was set to
)

// plain are the products of a component that does not say what it is.
var plain = [3]string{"Software generic component", "Software component", maker}

const maker = "Janitoo"

// busProducts are the product names of Janitoo's controllers, by their bus.
func busProduct(bus string) (string, bool) {
	name, ok := map[string]string{"hostsensor": "Host sensor controller", "nut": "NUT controller", "fake": "Fake server", "roomba": "Roomba controller",
		"tutorial3": "Raspberry tutorial controller"}[bus]
	return name, ok
}

// v is a value with its entry's class.
func v(uuid, entry, label, help string, poll int) spec {
	return spec{uuid: uuid, entry: entry, label: label, help: help, poll: poll, class: -1}
}

// basic makes a value one of genre basic.
func (s spec) basic() spec { s.genre = wire.Basic; return s }

// told has the value's instances told apart.
func (s spec) told(label, help string, kind wire.Type) spec {
	s.config = &instances{label, help, kind}
	return s
}

func (s spec) as(from source) spec { s.from = from; return s }

// or gives the value a default.
func (s spec) or(def any) spec { s.def = def; return s }

// text has the value's numbers stay texts.
func (s spec) text() spec { s.asText = true; return s }

// componentOf returns the component with the name, and whether Janitoo has it.
func componentOf(name string) (component, bool) {
	pin := v("pin", "config_integer", "Pin", "The pin number on the board", 0).or(json.Number("1"))
	temperature := v("temperature", "sensor_temperature", "Temp", "The temperature", 300)
	onOff := v("switch", "action_switch_binary", "Switch", "", 60)
	switch name {
	case "hostsensor.load":
		return component{[3]string{"Load statistics", "Software component", maker}, []spec{
			v("load", "sensor_float", "Load", "The load average", 60).basic().told("loadavg", "The load average index (1, 5, and 15m)", wire.TypeByte)}}, true
	case "hostsensor.uptime":
		return component{[3]string{"Uptime statistics", "Software component", maker}, []spec{v("uptime", "sensor_float", "Uptime", "Uptime in seconds", 300).basic()}}, true
	case "hostsensor.disks":
		return component{[3]string{"Disks statistics", "Software component", maker}, disks()}, true
	case "hostsensor.lmsensor":
		return component{[3]string{"LmSensor", "Software", maker}, []spec{
			v("temperature", "sensor_temperature", "Temperature", "The temperatures from lm-sensors", 60).told("sensor_name", "The name of the lmsensor", wire.TypeString),
			v("voltage", "sensor_voltage", "Voltage", "The voltage from lm-sensors", 90).told("sensor_name", "The name of the lmsensor", wire.TypeString),
			v("config_filename", "config_string", "File", "The full path/name of config file to use", 0).or("/etc/sensors3.conf")}}, true
	case "hostsensor.picpu":
		frequency := v("frequency", "sensor_frequency", "CPUFreq", "The frequency of the CPU", 300)
		frequency.whole = true
		return component{plain, []spec{v("temperature", "sensor_temperature", "CPUTemp", "The temperature of the CPU", 300), frequency,
			v("voltage", "sensor_voltage", "CPUVolt", "The voltage of the CPU", 300),
			v("cpu_governor", "action_string", "governor", "Change the cpu governor", 300).or("conservative")}}, true
	case "rpibasic.dht":
		return component{[3]string{"DHT", "Temperature/humidity sensor", maker}, []spec{temperature, v("humidity", "sensor_humidity", "Hum", "The humidity", 300), pin,
			v("sensor", "config_integer", "Type", "The sensor type : 11,22,2302", 0).or(json.Number("11"))}}, true
	case "rpi1wire.ds18b20":
		return component{[3]string{"DS18B20 sensor", "Temperature sensor", maker}, []spec{temperature,
			v("hexadd", "config_string", "Addr", "The hexadecimal address of the DS18B20", 0).or("28-000005e2fdc3")}}, true
	case "rpigpio.led":
		onOff.poll = 300
		blink := v("blink", "blink", "", "", 0)
		blink.extra = map[string]json.RawMessage{"delays": delays()}
		return component{[3]string{"RGB PWM", "Software", maker}, []spec{onOff.basic().or("off"), blink, pin}}, true
	case "rpigpio.input":
		return component{[3]string{"Input", "Software", maker}, []spec{v("state", "sensor_byte", "State", "The state of the GPIO", 60), pin}}, true
	case "rpigpio.output":
		return component{[3]string{"Output", "Software", maker}, []spec{onOff.or("off"), pin}}, true
	case "rpigpio.pwm":
		return component{[3]string{"PWM", "Software", maker}, []spec{v("level", "action_switch_multilevel", "Level", "The level of the LED. A byte from 0 to 100", 300), pin}}, true
	case "rpigpio.servo":
		return component{[3]string{"Servo", "Software", maker}, []spec{v("angle", "action_switch_multilevel", "Angle", "The angle of the servo", 300), pin}}, true
	case "rpigpio.sonic":
		state := v("state", "sensor_float", "State", "The state of the GPIO", 60)
		state.units, state.factor = "cm", 100
		return component{[3]string{"Sonic", "Software", maker}, []spec{state,
			v("pin_trig", "config_integer", "Pin", "The trigger pin number on the board", 0).or(json.Number("20")),
			v("pin_echo", "config_integer", "Pin", "The echo pin number on the board", 0).or(json.Number("21"))}}, true
	case "nut.ups":
		return component{plain, ups()}, true
	case "tutorial3":
		return component{[3]string{"Raspberry tutorial controller", "", ""}, tutorial()}, true
	case "fake.component":
		var all []spec
		for _, genre := range []wire.Genre{wire.Basic, wire.User, wire.Config, wire.Command} {
			s := v("test_"+genre.String(), "memory", "", "", 0).as(fromMemory)
			s.genre, s.class = genre, wire.CmdNone
			all = append(all, s)
		}
		return component{plain, all}, true
	}
	return component{}, false
}

func disks() (all []spec) {
	for _, s := range []spec{v("partition", "sensor_string", "Partition", "The partition list", 1800).as(fromConfig),
		v("total", "sensor_memory", "Total", "The total size of partitions", 900), v("used", "sensor_memory", "Used", "The used size of partitions", 900),
		v("free", "sensor_memory", "Free", "The free size of partitions", 900), v("percent_use", "sensor_percent", "Percent_use", "The percent_use of partitions", 900)} {
		all = append(all, s.basic().told("partition", "The partition path", wire.TypeString))
	}
	return all
}

func ups() []spec {
	runtime := v("battery_runtime", "sensor_integer", "Runtime", "The left runtime of the battery", 90).text()
	runtime.units = "Seconds"
	return []spec{v("ip_ping", "ip_ping", "Ping", "Ping the nut server", 30).told("config", "The IP of the NUT server", wire.TypeIP).as(fromState).or("127.0.0.1"),
		v("status", "sensor_string", "Status", "The status of the UPS", 60),
		v("battery_charge", "sensor_percent", "Charge", "The charge of the battery", 90).text(),
		v("battery_voltage", "sensor_voltage", "Voltage", "The voltage of the battery", 90).text(), runtime,
		v("battery_chemistry", "sensor_string", "Chemistry", "The chemistry of the battery", 1800),
		v("port", "config_integer", "Port", "Port to connect the nut server", 0).or(json.Number("3493")),
		v("username", "config_string", "Username", "Username to connect the nut server", 0),
		v("password", "config_password", "Password", "Password to connect the nut server", 0),
		v("upsname", "config_string", "UPS", "Ups name on the nut server", 0)}
}

func tutorial() []spec {
	transition := v("tutorial3_transition", "transition_fsm", "", "", 0)
	transition.items = []string{"wakeup", "report", "sleep", "ring"}
	critical := "The critical temperature. If 2 of the 3 temperature sensors are up to this value, a security notification is sent."
	return []spec{transition, v("tutorial3_state", "sensor_string", "State", "The state of the fsm.", 60).basic(),
		v("tutorial3_temperature", "sensor_temperature", "Temp", "The average temperature of tutorial.", 300),
		v("tutorial3_overheat", "sensor_boolean", "Overheat", "Temperature overheat.", 60).or(false),
		v("tutorial3_timer_delay", "config_float", "Timer.", "The delay between 2 checks", 0).or(json.Number("30")),
		v("tutorial3_temperature_critical", "config_float", "Critical", critical, 0).or(json.Number("50"))}
}

// delays are those of blink: how long it is lit and how long not, in seconds.
func delays() json.RawMessage {
	lit := func(on, off float64) map[string]any { return map[string]any{"on": on, "off": off} }
	return wire.Marshal(map[string]any{"off": lit(0, 1), "blink": lit(0.6, 2.5), "heartbeat": lit(0.5, 300), "on": lit(0.5, 300), "info": lit(0.6, 60),
		"info1": lit(0.6, 60), "info2": lit(0.6, 60), "notify": lit(0.6, 10), "warning": lit(0.6, 5), "alert": lit(0.6, 1)})
}
