package reports

// Live is a face that lives: while the host's configuration names it under "faces", it speaks another protocol on the host's
// broker, derived from what the services say of themselves.
type Live struct {
	Name    string // its key in the configuration
	Doc     string // what it is, in a few words
	Example string // options, as YAML

	// Defaults returns a pointer to the face's options with their defaults: a struct with yaml and doc tags, and a method
	// Validate where its fields must fit each other.
	Defaults func() any
	// New returns the face with its options, what Defaults returned with the user's own in it. Host has all but Services.
	New func(options any, h Host) (Bridge, error)
	// Split returns the options of each of the bridges that the face is, by a word that tells them apart, "" for the first; nil: it is one.
	// Each has a connection of its own, with its own last will.
	Split func(options any) map[string]any
}

// Message is what a face has published, or has been told.
type Message struct {
	Topic    string
	Payload  string
	QoS      byte // 0 or 1
	Retained bool
}

// Bridge is one face at work. Its methods are called by one goroutine, and do no I/O: what is to be published they return.
type Bridge interface {
	// Stands returns what is to stand on the broker for the host as it is: groups of retained messages. It is published where it
	// differs from what stands, and topics that no group has any more are emptied. Before is what stood until now, by topic, also
	// from before a restart.
	Stands(h Host, before map[string]string) []Group
	// Said returns what is to be published when a point has a new value, or an event has happened: payload is what stands on
	// the point's topic. An empty one says that the point has no value.
	Said(s HostService, p Point, payload string) []Message
	// Filters returns the topics that the face listens to. They never change.
	Filters() []string
	// Heard returns what is to be published when a message has come on one of them, and whether all that stands is to be
	// published again after a while, since a client has begun anew.
	Heard(h Host, m Message) (out []Message, again bool)
	// Ends returns what the broker is to say when the host is lost (at most one message, its last will), and what the host says
	// when it stops.
	Ends() (lost, stops []Message)
}

// Group are messages that belong together. When one of them differs from what stands, all are published, in this order.
type Group struct {
	Before  []Message
	Service string // whose points' values (Bridge.Said) stand between; "": nobody's
	After   []Message
}
