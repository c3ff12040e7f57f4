package reports

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Report is the answer of one service in the original form, as a collector reads it from a broker.
type Report struct {
	Request
	Service  string // its name; programs that know only the original form do not send it
	Function string
	Inputs   string
	Outputs  string
	Control  string
	// Simulated says that the service's hardware is made up. Programs that know only the original form do not send it; what is
	// not true or false there stays in Extra.
	Simulated bool
}

// own are the fields that a report has beside those of the request.
func (r *Report) own() map[string]*string {
	return map[string]*string{"service": &r.Service, "function": &r.Function, "inputs": &r.Inputs, "outputs": &r.Outputs, "control": &r.Control}
}

// ParseReport reads an answer in the original form, of MaxPayload bytes at most. Hostname must be there, and Function in answers
// to status and getstatus; the answer's lists of the further questions stay in Extra. Its texts have no characters that could
// mislead whoever sees them in a table or log; nothing else is known of them.
func ParseReport(b []byte) (Report, error) {
	req, err := parseRequest(b, MaxPayload)
	if err != nil {
		return Report{}, err
	}
	r := Report{Request: req}
	texts := r.own()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		raw, ok := r.Extra[name]
		switch {
		case !ok || (raw[0] == '[' && (name == "inputs" || name == "outputs")):
			continue // getinputs and getoutputs have lists here
		case raw[0] != '"' && string(raw) != "null":
			return Report{}, Errorf(CodeWrongType, "%s: %.40q is not a string", name, raw)
		}
		if err := json.Unmarshal(raw, texts[name]); err != nil {
			return Report{}, Errorf(CodeWrongType, "%s: %w", name, err)
		}
		delete(r.Extra, name)
	}
	switch string(r.Extra["simulated"]) {
	case "true", "false":
		r.Simulated = string(r.Extra["simulated"]) == "true"
		delete(r.Extra, "simulated")
	}
	if err := r.check(); err != nil {
		return Report{}, err
	}
	return r, nil
}

func (r *Report) check() error {
	texts := r.own()
	maps.Copy(texts, map[string]*string{"hostname": &r.Hostname, "ipaddr": &r.IPAddr, "extaddr": &r.ExtAddr})
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		s := *texts[name]
		switch {
		case len(s) > MaxTopic:
			return Errorf(CodeTooLarge, "%s has %d bytes, at most %d are allowed", name, len(s), MaxTopic)
		case strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }):
			return Errorf(CodeBadPayload, "%s %.40q has a character that can't be printed", name, s)
		}
	}
	if r.Hostname == "" {
		return Errorf(CodeBadPayload, "report has no hostname")
	}
	if r.Function == "" && (r.Cmd == "status" || r.Cmd == "getstatus") {
		return Errorf(CodeBadPayload, "report has no function")
	}
	return nil
}

// MarshalJSON writes the report with all its fields; those that are empty are left out.
func (r Report) MarshalJSON() ([]byte, error) {
	out := r.fields()
	for name, s := range r.own() {
		if *s != "" {
			out[name] = *s
		}
	}
	if r.Simulated {
		out["simulated"] = true
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the report as ParseReport does.
func (r *Report) UnmarshalJSON(b []byte) error {
	parsed, err := ParseReport(b)
	if err == nil {
		*r = parsed
	}
	return err
}
