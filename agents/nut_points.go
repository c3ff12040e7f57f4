package agents

import (
	"fmt"
	"math"
	"strings"
	"time"

	"rollcall/reports"
)

// nutVars are the variables of a UPS by their names in NUT.
type nutVars map[string]string

// nutVariable is a variable that becomes a point. NUT's docs/nut-names.txt (RFC 9271 appendix) says what they mean.
type nutVariable struct {
	names []string // the first of them that the UPS has
	point reports.Point
}

// nutVariables are the variables that become points, if the UPS has them.
func nutVariables() []nutVariable {
	v := func(path, label, unit, class string, t reports.Type, names ...string) nutVariable {
		p := reports.Point{Path: path, Label: label, Unit: unit, Class: class, Type: t, Genre: reports.User}
		if unit == "%" || unit == "s" || unit == "W" {
			p.Min = reports.Ptr(0)
		}
		return nutVariable{names, p}
	}
	charge := v("battery/charge", "Battery charge", "%", "battery", reports.Float, "battery.charge")
	charge.point.Max, charge.point.Genre = reports.Ptr(100), reports.Basic
	text := func(path, label, janitoo string, names ...string) nutVariable {
		t := v(path, label, "", "", reports.String, names...)
		t.point.Genre, t.point.Janitoo = reports.System, "nut.ups/"+janitoo
		return t
	}
	known := func(janitoo string, v nutVariable) nutVariable {
		v.point.Janitoo = "nut.ups/" + janitoo
		return v
	}
	return []nutVariable{
		known("battery_charge", charge),
		known("battery_voltage", v("battery/voltage", "Battery voltage", "V", "voltage", reports.Float, "battery.voltage")),
		known("battery_runtime", v("battery/runtime", "Battery runtime", "s", "duration", reports.Int, "battery.runtime")),
		v("battery/temperature", "Battery temperature", "°C", "temperature", reports.Float, "battery.temperature"),
		text("battery/chemistry", "Battery chemistry", "battery_chemistry", "battery.type", "battery.chemistry"),
		v("ups/load", "Load", "%", "", reports.Float, "ups.load"), // more than 100 where it is overloaded
		v("ups/power", "Power", "W", "power", reports.Float, "ups.realpower"),
		v("ups/temperature", "Temperature of the UPS", "°C", "temperature", reports.Float, "ups.temperature"),
		v("input/voltage", "Mains voltage", "V", "voltage", reports.Float, "input.voltage"),
		v("input/frequency", "Mains frequency", "Hz", "frequency", reports.Float, "input.frequency"),
		v("output/voltage", "Output voltage", "V", "voltage", reports.Float, "output.voltage"),
		text("ups/model", "Model", "product_name", "ups.model", "device.model"),
		text("ups/manufacturer", "Manufacturer", "product_manufacturer", "ups.mfr", "device.mfr"),
		text("ups/serial", "Serial number", "product_type", "ups.serial", "device.serial"),
	}
}

// value returns what the variables say of the point.
func (v nutVariable) value(vars nutVars) (any, error) {
	text, ok := v.in(vars)
	if !ok {
		return nil, fmt.Errorf("the UPS no longer has %s", strings.Join(v.names, " or "))
	}
	if v.point.Type == reports.String {
		return strings.ToValidUTF8(strings.TrimSpace(text), "�"), nil
	}
	f, err := nutNumber(text)
	switch {
	case err != nil:
		return nil, err
	case v.point.Min != nil && f < *v.point.Min:
		return nil, fmt.Errorf("the UPS says %.20q, which is less than %v", text, *v.point.Min)
	case v.point.Max != nil && f > *v.point.Max:
		return nil, fmt.Errorf("the UPS says %.20q, which is more than %v", text, *v.point.Max)
	case v.point.Type == reports.Int:
		return int64(math.Round(max(min(f, 1<<53), -1<<53))), nil
	}
	return f, nil
}

// in returns the variable.
func (v nutVariable) in(vars nutVars) (string, bool) {
	for _, name := range v.names {
		if text, ok := vars[name]; ok {
			return text, true
		}
	}
	return "", false
}

// nutStatus returns ups.status. Without it nothing can be said of the UPS: RFC 9271 §5.1 makes it the one that all have.
func nutStatus(vars nutVars) (string, error) {
	status, ok := vars["ups.status"]
	if !ok || strings.TrimSpace(status) == "" {
		return "", fmt.Errorf("the UPS has no ups.status")
	}
	return strings.ToValidUTF8(status, "�"), nil
}

// describe adds the points that the UPS has.
func (n *nut) describe(vars nutVars, every reports.Duration) {
	take := func(p reports.Point, pick func(nutVars) (any, error)) {
		p.Poll = every
		n.take(p, pick)
	}
	for _, v := range nutVariables() {
		if _, ok := v.in(vars); ok {
			take(v.point, v.value)
		}
	}
	take(reports.Point{Path: "ups/status", Label: "Status", Help: "The flags of ups.status: OL, OB LB", Type: reports.String, Genre: reports.User, Janitoo: "nut.ups/status"},
		func(vars nutVars) (any, error) { return nutStatus(vars) })
	take(reports.Point{Path: "ups/text", Label: "Status in words", Type: reports.String, Genre: reports.Basic},
		func(vars nutVars) (any, error) {
			status, err := nutStatus(vars)
			return nutExplain(status), err
		})
	for _, f := range nutFlags() {
		p := reports.Point{Path: "flag/" + f.path, Label: strings.ToUpper(f.says[:1]) + f.says[1:], Help: f.help, Type: reports.Bool, Genre: reports.User}
		switch f.word {
		case "OL":
			p.Class, p.Genre = "power", reports.Basic
		case "LB":
			p.Class, p.Genre = "battery", reports.Basic
		case "OB", "RB", "OVER", "BYPASS", "FSD", "ALARM":
			p.Class = "problem"
		}
		take(p, func(vars nutVars) (any, error) {
			status, err := nutStatus(vars)
			return nutHas(status, f.word), err
		})
	}
}

// The made-up UPS: ten minutes, of which the last two are on battery.
const (
	nutSimPeriod  = 10 * time.Minute
	nutSimOutage  = 8 * time.Minute
	nutSimEmptied = 40.0 // percent at the end of the outage; below nutSimLow it says LB
	nutSimLow     = 50.0
)

// nutSimulated is what a made-up UPS says at the time.
func nutSimulated(at time.Time) nutVars {
	in := time.Duration(at.UnixNano() % int64(nutSimPeriod))
	status, charge, mains := "OL CHRG", nutSimEmptied+(100-nutSimEmptied)*float64(in)/float64(nutSimOutage), 230.0
	if in >= nutSimOutage {
		status, mains = "OB DISCHRG", 0
		charge = 100 - (100-nutSimEmptied)*float64(in-nutSimOutage)/float64(nutSimPeriod-nutSimOutage)
		if charge < nutSimLow {
			status += " LB"
		}
	}
	return nutVars{
		"ups.status": status, "battery.charge": fmt.Sprintf("%.1f", charge), "battery.voltage": fmt.Sprintf("%.2f", 11+2.7*charge/100),
		"battery.runtime": fmt.Sprintf("%.0f", 18*charge), "battery.type": "PbAc", "ups.load": "12", "input.voltage": fmt.Sprint(mains),
		"ups.model": "made up",
	}
}
