package reports

import "strings"

// Every returns how often the point is read, "" for one that is published on change only.
func (p Point) Every() string {
	if p.Poll == 0 {
		return ""
	}
	s := p.Poll.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// What returns the point's label and help as one text.
func (p Point) What() string {
	switch {
	case p.Label == "":
		return OneLine(p.Help)
	case p.Help == "":
		return OneLine(p.Label)
	}
	return OneLine(p.Label) + ": " + OneLine(p.Help)
}

// Bounds returns what a value may be beside its type, as "0 to 100", "from 0", or the options of an enum; "" where all of the type may
// be. The options are as long as the description has them.
func (p Point) Bounds() string {
	number := p.Type == Int || p.Type == Float
	switch {
	case p.Type == Enum:
		return OneLine(strings.Join(p.Options, ", "))
	case number && p.Min != nil && p.Max != nil:
		return FormatValue(*p.Min) + " to " + FormatValue(*p.Max)
	case number && p.Min != nil:
		return "from " + FormatValue(*p.Min)
	case number && p.Max != nil:
		return "up to " + FormatValue(*p.Max)
	}
	return ""
}

// Fact is one thing that is known of a host.
type Fact struct{ Name, Value string }

// Facts returns what is known of the host beside its name and its services, in the order in which people read it. The values are one
// line each, and from outside.
func (h Host) Facts() []Fact {
	var brokers []string
	for _, e := range h.Endpoints() {
		scheme := "mqtt://"
		if e.TLS {
			scheme = "mqtts://"
		}
		brokers = append(brokers, scheme+e.String())
	}
	status := ""
	if h.Status == Online || h.Status == Offline {
		status = string(h.Status)
	}
	all := []Fact{{"Status", status}, {"Address", h.IPAddr}, {"Public address", h.ExtAddr}, {"MAC", h.MAC}, {"Model", h.Model}, {"System", h.OS}, {"Architecture", h.Arch},
		{"Rollcall", h.Version}, {"Broker", strings.Join(brokers, ", ")}, {"Id", h.ID}}
	var known []Fact
	for _, f := range all {
		if f.Value = OneLine(f.Value); f.Value != "" {
			known = append(known, f)
		}
	}
	return known
}
