package reports

import (
	"strconv"
	"strings"
)

// Commands returns lines of shell that read and set a point, ready to be pasted: by udpsrv, and by any client of MQTT. Whatever the
// description says, no line has more than these commands in it.
func (h Host) Commands(s HostService, p Point) []string {
	target := h.Name
	if h.Key != h.Name && h.ID != "" {
		target = ShellWord(h.ID) // others have that name
	}
	target += "/" + s.Name + "/" + p.Path
	t := h.Topics(s)
	var out []string
	if p.Access.Has(Get) {
		out = append(out, "udpsrv get "+target)
	} else if p.Access.Has(Event) {
		out = append(out, "udpsrv spy --host "+strings.SplitN(target, "/", 2)[0]+" "+t.To(p.Path))
	}
	value, settable := p.sample(s.Values[p.Path])
	settable = settable && p.Access.Has(Set)
	if settable {
		set := "udpsrv set "
		if strings.HasPrefix(value, "-") {
			set += "-- "
		}
		out = append(out, set+target+" "+ShellWord(value))
	}
	at := h.mosquitto()
	if p.Access&(Get|Event) != 0 {
		out = append(out, "mosquitto_sub"+at+" -t "+t.To(p.Path)+" -C 1")
	}
	if settable {
		out = append(out, "mosquitto_pub"+at+" -t "+t.To("set/"+p.Path)+" -m "+ShellWord(value))
	}
	return out
}

// PlainBroker returns the first broker of the host that can be used without TLS, and whether there is one. On other hosts commands
// of mosquitto are for the host itself.
func (h Host) PlainBroker() (Endpoint, bool) {
	for _, e := range h.Endpoints() {
		if !e.TLS {
			return e, true
		}
	}
	return Endpoint{}, false
}

// mosquitto returns the options that name the host's broker; none where it is the one of the machine itself.
func (h Host) mosquitto() string {
	e, ok := h.PlainBroker()
	if !ok {
		return ""
	}
	at := " -h " + e.Host
	if e.Port != portMQTT {
		at += " -p " + strconv.Itoa(int(e.Port))
	}
	return at
}

// sample returns a value that the point can be set to as it is written on a command line: the last one, or else one that its
// description allows. There is none for a point whose only values can't be shown on a line.
func (p Point) sample(last string) (string, bool) {
	plain := func(s string) bool { return s != "" && s == OneLine(s) && len(s) <= maxSample }
	if _, err := p.ParseValue(last); err == nil && plain(last) {
		return last, true
	}
	switch p.Type {
	case Bool:
		return "ON", true
	case Enum:
		for _, o := range p.Options {
			if plain(o) {
				return o, true
			}
		}
		return "", false
	case JSON:
		return "{}", true
	case String:
		return "text", true
	}
	v := 0.0
	if p.Min != nil {
		v = max(v, *p.Min)
	}
	if p.Max != nil {
		v = min(v, *p.Max)
	}
	_, err := p.ParseValue(FormatValue(v))
	return FormatValue(v), err == nil
}

// maxSample is how long a value on a command line may be, in bytes.
const maxSample = 80

// ShellWord returns a text as one word of a POSIX shell, quoted where it must be.
func ShellWord(s string) string {
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./:,@%") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
