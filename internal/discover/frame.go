package discover

import "encoding/binary"

// Where fields of a request stand, and of a datagram about relaying.
const (
	offRequestSweep    = 8
	offRequestOperator = 24
	offRequestMAC      = 48
	offRequestSeq      = 60
	offRequestSalt     = 92
	offRelaySeq        = 32
)

// withTail returns a request with the byte that says that its frame comes from the MAC which it names; the kernel of the host
// takes it off if that is not so. Requests have even lengths, so that the tail can be told from what it follows.
func withTail(b []byte) []byte {
	if !isRequest(b) || len(b)%2 != 0 || [6]byte(b[offRequestMAC:]) == [6]byte{} {
		return b
	}
	return append(b[:len(b):len(b)], 0)
}

// cutTail takes the tail off a request and reports whether there was one.
func cutTail(b []byte) ([]byte, bool) {
	if !isRequest(b) || len(b)%2 == 0 || b[len(b)-1] != 0 {
		return b, false
	}
	return b[:len(b)-1], true
}

// isRequest reports whether the datagram claims to be a request in the sealed form.
func isRequest(b []byte) bool {
	return len(b) >= MinRequest && string(b[:len(magic)]) == magic && b[5] == typeRequest
}

// isReply reports whether the datagram claims to be a reply of this version to the sweep.
func isReply(b []byte, sweep uint64) bool {
	return len(b) >= replyHeader && string(b[:len(magic)]) == magic && b[4] == wireVersion && b[5] == typeReply &&
		binary.BigEndian.Uint64(b[offSweep:]) == sweep
}
