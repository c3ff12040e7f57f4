package reports

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// MaxRequest is the longest datagram in the original form that is looked at, in bytes. The original's are about 80.
const MaxRequest = 4096

// MaxEnriched is the longest request in the original form that is read on ReportTopic: one of MaxRequest, in which JSON may
// write six bytes for one (< as \u003c), with what a monitor adds, which is less than 1 KiB. The usual one has about 400 bytes.
const MaxEnriched = 6*MaxRequest + 1024

// Commands are the questions of the original form (PROTOCOL.md §1): status and getstatus ask each service for its report,
// getapps the host for its list of services, the others each service for one of its lists.
var Commands = []string{"status", "getstatus", "getapps", "getinterfaces", "getinputs", "getoutputs", "getfunctions", "getcontrols"}

// Request is a question in the original form: what a program broadcasts, and what a monitor makes of it on ReportTopic.
// Fields that it does not know are kept and written again.
type Request struct {
	Cmd     string
	ReplyTo string // host, host:port or mqtt(s)://host:port; whose broker the answers go to
	Topic   string // the topic there
	ID      ID
	Seq     ID

	Monitor // what the monitor of the receiving host adds; never believed when it comes from the network

	Extra map[string]json.RawMessage // all other fields, to the letter
}

// Monitor is what the monitor of a host adds to a request before it republishes it.
type Monitor struct {
	Hostname string
	IPAddr   string // the address of the interface that the request came in on
	ExtAddr  string // the public address, "" when unknown
	Pass     string // says to the host's own services that replyto was checked, and what address it means; internal/discover
}

// known are the fields of Request by name. Names are compared exactly: a "ReplyTo" beside "replyto" is an unknown field, not
// a second value of the known one.
func (r *Request) known() []struct {
	name string
	text *string
	id   *ID
} {
	return []struct {
		name string
		text *string
		id   *ID
	}{
		{"cmd", &r.Cmd, nil}, {"replyto", &r.ReplyTo, nil}, {"topic", &r.Topic, nil}, {"id", nil, &r.ID}, {"seq", nil, &r.Seq},
		{"hostname", &r.Hostname, nil}, {"ipaddr", &r.IPAddr, nil}, {"extaddr", &r.ExtAddr, nil}, {"pass", &r.Pass, nil},
	}
}

// ParseRequest reads a request in the original form: strict about the types of the fields it knows, lenient about fields that
// it does not. Whether ReplyTo may be connected to is not decided here.
// It reads what a monitor has made longer as well, MaxEnriched bytes; who reads datagrams holds them to MaxRequest.
func ParseRequest(b []byte) (Request, error) { return parseRequest(b, MaxEnriched) }

func parseRequest(b []byte, most int) (Request, error) {
	var r Request
	if len(b) > most {
		return r, Errorf(CodeTooLarge, "request has %d bytes, at most %d are allowed", len(b), most)
	}
	if !utf8.Valid(b) {
		return r, Errorf(CodeBadPayload, "request is not UTF-8")
	}
	if d := Depth(b); d > MaxDepth {
		return r, Errorf(CodeBadPayload, "request nests %d deep, at most %d are allowed", d, MaxDepth)
	}
	if err := json.Unmarshal(b, &r.Extra); err != nil {
		return r, Errorf(CodeBadPayload, "request is not a JSON object: %w", err)
	}
	if r.Extra == nil {
		return r, Errorf(CodeBadPayload, "request is null")
	}
	for _, f := range r.known() {
		raw, ok := r.Extra[f.name]
		if !ok {
			continue
		}
		delete(r.Extra, f.name)
		if f.id != nil {
			if err := f.id.UnmarshalJSON(raw); err != nil {
				return r, Errorf(CodeWrongType, "%s: %w", f.name, err)
			}
			continue
		}
		if raw[0] != '"' {
			return r, Errorf(CodeWrongType, "%s: %.40q is not a string", f.name, raw)
		}
		if err := json.Unmarshal(raw, f.text); err != nil {
			return r, Errorf(CodeWrongType, "%s: %w", f.name, err)
		}
	}
	if !slices.Contains(Commands, r.Cmd) {
		return r, Errorf(CodeUnsupported, "cmd %.40q is none of the questions known", r.Cmd)
	}
	if err := ValidTopic(r.Topic); err != nil {
		return r, err
	}
	if len(r.ReplyTo) > MaxTopic {
		return r, Errorf(CodeTooLarge, "replyto has %d bytes, at most %d are allowed", len(r.ReplyTo), MaxTopic)
	}
	return r, nil
}

// MarshalJSON writes the request with all its fields; those that are empty are left out.
func (r Request) MarshalJSON() ([]byte, error) { return json.Marshal(r.fields()) }

// UnmarshalJSON reads the request as ParseRequest does.
func (r *Request) UnmarshalJSON(b []byte) error {
	parsed, err := ParseRequest(b)
	if err == nil {
		*r = parsed
	}
	return err
}

func (r Request) fields() map[string]any {
	out := map[string]any{}
	for k, v := range r.Extra {
		out[k] = v
	}
	for _, f := range r.known() {
		switch {
		case f.id != nil && *f.id != "":
			out[f.name] = *f.id
		case f.text != nil && *f.text != "":
			out[f.name] = *f.text
		}
	}
	return out
}

// ReportFor returns the answer of a service to the request in the original form: the request's own fields with those of the
// service added. For the questions that ask for one list only that list is added, under its name.
func ReportFor(r Request, s Service) map[string]any {
	out := r.fields()
	delete(out, "pass")
	delete(out, "simulated") // whatever the asker said of it
	switch r.Cmd {
	case "status", "getstatus":
		if s.Simulated {
			out["simulated"] = true
		}
		maps.Copy(out, map[string]any{"function": s.Function, "inputs": s.Inputs, "outputs": s.Outputs, "control": s.Control, "service": s.Name})
		return out
	case "getinterfaces":
		out["interfaces"] = map[string]any{"inputs": topics(s, Set), "outputs": topics(s, Get|Event), "control": s.Control}
	case "getinputs":
		out["inputs"] = topics(s, Set)
	case "getoutputs":
		out["outputs"] = topics(s, Get|Event)
	case "getfunctions":
		out["functions"] = []string{s.Function}
	case "getcontrols":
		out["controls"] = []string{s.Control}
	}
	out["service"] = s.Name
	return out
}

// AppsFor returns a host's one answer to getapps: the request's own fields with the names of its services under apps.
func AppsFor(r Request, services []string) map[string]any {
	out := r.fields()
	delete(out, "pass")
	out["apps"] = services
	return out
}

// topics returns the topics of the points that have any of the access bits: where they are set, or where they are published.
func topics(s Service, a Access) []string {
	out := []string{}
	for _, p := range s.Points {
		switch {
		case p.Access&a == 0:
		case a == Set:
			out = append(out, s.Inputs+"/"+p.Path)
		default:
			out = append(out, s.Outputs+"/"+p.Path)
		}
	}
	return out
}
