package reports

import "time"

// Clocked is a Bridge that speaks by the clock too, such as with heartbeats, and that remembers what it has been told over restarts. As
// those of Bridge, its methods are called by one goroutine and do no I/O.
type Clocked interface {
	Bridge
	// Recall is called before all others, with what Memory returned before the last end; nil where there is nothing.
	Recall(memory []byte) error
	// Memory returns what is to be kept in the host's state_dir. It is asked after each call of the others.
	Memory() []byte
	// Next returns when Due is to be called; the zero time while it need not be.
	Next() time.Time
	// Due returns what is to be published now.
	Due(h Host, now time.Time) []Message
	// Connected is called after each connection to the broker: what a listener must know is due again.
	Connected()
	// Stops returns what the host says when it stops at this moment, beside what Ends had.
	Stops() []Message
}
