package reports

import "strings"

// Status is whether a service or host is there, as its status topic says it.
type Status string

// The payloads of status topics.
const (
	Online  Status = "online"
	Offline Status = "offline"
	Unknown Status = "" // a program that knows only the original form has no status
)

// Found is a host as a sweep finds it: the element of "hosts" in `udpsrv sweep --json`.
type Found struct {
	ID       string         `json:"id"` // 16 hex digits, stable over restarts and renaming; "" for the original form
	Hostname string         `json:"hostname"`
	IPAddr   string         `json:"ipaddr"`
	ExtAddr  string         `json:"extaddr"`
	Via      []string       `json:"via"` // the ways it answered: "udp", "mqtt"
	Brokers  []string       `json:"brokers,omitempty"`
	Services []FoundService `json:"services"`
}

// FoundService is a service as a sweep finds it.
type FoundService struct {
	Name     string `json:"name"`
	Function string `json:"function"`
	Inputs   string `json:"inputs"`
	Outputs  string `json:"outputs"`
	Control  string `json:"control"`
	Status   Status `json:"status"`
	Points   int    `json:"points"` // how many points it has
	// Simulated says that its hardware is made up, as its options ask for in words.
	Simulated bool `json:"simulated,omitempty"`
}

// FoundFrom returns the service that a report in the original form tells of. A program that does not name its service is
// known by the last segment of its outputs topic, or by its function.
func FoundFrom(r Report) FoundService {
	name := r.Service
	if name == "" {
		name = strings.TrimRight(r.Outputs, "/")
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	if ValidName(name) != nil {
		name = r.Function
	}
	return FoundService{Name: name, Function: r.Function, Inputs: r.Inputs, Outputs: r.Outputs, Control: r.Control, Simulated: r.Simulated}
}
