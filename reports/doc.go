// Package reports holds the words of the system: what a host is asked (Request), what it answers (Report, Host), what a
// service is (Service, Point), what it says (Reading, Result) and what it is told (Command); how each is written, parsed
// and checked, and on which topic it travels.
//
// It does no I/O and imports the standard library only. Everything that comes from outside is parsed here into typed
// values, so that the packages above never see a value that has not been checked. Parse functions return *Error, whose
// Code travels to the sender in a Result.
package reports

import (
	"errors"
	"fmt"
)

// Codes of an Error: the machine-readable half of a refusal, as it stands in Result.Code.
const (
	CodeBadPayload  = "bad_payload"   // the payload can't be parsed at all
	CodeBadTopic    = "bad_topic"     // a topic or name has characters or a length that it may not have
	CodeUnknown     = "unknown_point" // the path names no point
	CodeWrongType   = "wrong_type"    // the value is not of the point's type
	CodeOutOfRange  = "out_of_range"  // the value is outside the point's minimum, maximum or options
	CodeReadOnly    = "read_only"     // the point can't be set
	CodeWriteOnly   = "write_only"    // the point can't be read
	CodeRetained    = "retained"      // a retained message came in on a command topic
	CodeTooLarge    = "too_large"     // the payload is longer than MaxPayload
	CodeBusy        = "busy"          // the service's queue is full
	CodeUnsupported = "unsupported"   // the service does not know the verb
	CodeTimeout     = "timeout"       // the device did not answer in time
	CodeDevice      = "device"        // the device refused or failed
	CodeBadSetup    = "bad_setup"     // a setup document was refused; nothing of it was applied
	CodeOffline     = "offline"       // the service has no working device at present
	CodeNotAllowed  = "not_allowed"   // the operator has not the right
)

// Error is a refusal with a code that a program can test and a text that a person can act on.
type Error struct {
	Code string
	Text string
	Err  error // the cause, if there is one
}

// Errorf returns an Error with the code and the formatted text. %w keeps the cause.
func Errorf(code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Text: err.Error(), Err: errors.Unwrap(err)}
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, or CodeDevice for any other error, and "" for nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeDevice
}
