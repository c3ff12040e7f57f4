// Package discover is the sweep and the responder on UDP: the wire format RCL1 and the original JSON form (PROTOCOL.md §1, §2),
// and the guard that decides whose broker a request may have answers sent to.
//
// It never connects to a broker itself and knows nothing of agents.
package discover
