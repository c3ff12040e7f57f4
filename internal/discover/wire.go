package discover

import (
	"errors"
	"fmt"
)

// Sizes of sealed datagrams, in bytes. A request is padded to MinRequest so that no reply is longer than what caused it.
const (
	MinRequest = 1200
	MaxRequest = 1400
	maxReply   = MinRequest
)

const (
	magic         = "RCL1"
	wireVersion   = 1
	typeRequest   = 1
	typeReply     = 2
	requestHeader = 102
	replyHeader   = 64
	signatureSize = 64
	maxPages      = 64
	maxSweep      = 1<<53 - 1 // the greatest whole number that every JSON reader keeps
	maxMillis     = 1<<48 - 1 // the year 10889
)

// Errors of parsing, for the counters.
var (
	errTooLong = errors.New("datagram is too long")
	errVersion = errors.New("datagram has a version, type or flag that is not known")
)

// badSweep is a sweep id that is none. It is put into words only where somebody reads them: garbage comes by the thousand.
type badSweep uint64

// Error says what is wrong with the id.
func (e badSweep) Error() string {
	return fmt.Sprintf("sweep id %d is not between 1 and 2^53-1", uint64(e))
}
