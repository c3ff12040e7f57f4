package homeassistant

// The device classes that Home Assistant has for what Rollcall's points can be, with the units that it takes of each.
// Source: https://developers.home-assistant.io/docs/core/entity/sensor, /number, /binary-sensor and /switch, "Available device
// classes".
var (
	sensorClasses = map[string][]string{
		"apparent_power":       {"VA", "mVA", "kVA"},
		"atmospheric_pressure": {"Pa", "hPa", "kPa", "bar", "mbar", "mmHg", "inHg", "psi"},
		"battery":              {"%"},
		"carbon_dioxide":       {"ppm"},
		"current":              {"A", "mA"},
		"data_rate":            {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "kB/s", "MB/s", "GB/s", "KiB/s", "MiB/s", "GiB/s"},
		"data_size":            {"bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"},
		"distance":             {"km", "m", "cm", "mm", "mi", "yd", "in"},
		"duration":             {"d", "h", "min", "s", "ms", "µs"},
		"energy":               {"J", "kJ", "MJ", "Wh", "kWh", "MWh"},
		"frequency":            {"mHz", "Hz", "kHz", "MHz", "GHz"},
		"humidity":             {"%"},
		"illuminance":          {"lx"},
		"moisture":             {"%"},
		"power":                {"mW", "W", "kW", "MW"},
		"power_factor":         {"%"},
		"pressure":             {"Pa", "hPa", "kPa", "bar", "mbar", "mmHg", "inHg", "psi"},
		"signal_strength":      {"dB", "dBm"},
		"speed":                {"m/s", "km/h", "mm/s"},
		"temperature":          {"°C", "°F", "K"},
		"voltage":              {"V", "mV", "µV", "kV"},
		"volume":               {"L", "mL", "m³"},
		"volume_flow_rate":     {"m³/h", "L/min", "L/s", "mL/s"},
		"weight":               {"kg", "g", "mg", "µg"},
	}
	// numberClasses are those that a settable number may have as well; data_rate, data_size, duration and the rest are the same.
	numberClasses = sensorClasses
	binaryClasses = []string{"battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas", "heat",
		"light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem", "running", "safety",
		"smoke", "sound", "tamper", "update", "vibration", "window"}
	switchClasses = []string{"outlet", "switch"}
)

// stateClasses returns the state classes that a device class allows: an energy or a volume is a total, never a measurement.
func stateClasses(class string) []string {
	switch class {
	case "energy", "volume":
		return []string{"total", "total_increasing"}
	case "data_size", "distance", "duration", "weight":
		return []string{"measurement", "total", "total_increasing"}
	case "":
		return []string{"measurement", "total", "total_increasing"}
	}
	return []string{"measurement"}
}
