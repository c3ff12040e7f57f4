// Package output decides what outputs are to be: it holds the rules of each one (timers, one-shots, the longest time on,
// interlocks, blinking, the failsafe) and says which lines must be told what, and when to ask again. It drives nothing, knows no
// line and no clock, and starts no goroutine: the time is an argument, and the caller carries out what Due returns.
package output

import "time"

// Why an output is what it is.
const (
	WhyCommand   = "command"   // someone commanded it
	WhyPulse     = "pulse"     // the timer of a pulse or of a command with a time ended
	WhyMaxOn     = "max_on"    // it was on for as long as its rules allow
	WhyInterlock = "interlock" // another one of its group was to go on, or could not be switched off
	WhyFailsafe  = "failsafe"  // who controls it was gone, or did not renew the command, for too long
	WhyBlink     = "blink"     // a pattern's lit phase or pause began
	WhyFailed    = "failed"    // its line could not be switched on, or was on though nothing ever told it to be
)

// Retry is how long Due waits before it asks again for what the line refused and safety needs: an OFF, or the ON of a failsafe.
const Retry = time.Second

// Action is what a failsafe does.
type Action int

// The actions.
const (
	FailsafeHold Action = iota // leave the output, its timers and its pattern as they are, and report it
	FailsafeOff                // switch off
	FailsafeOn                 // switch on, as a command would: interlocks, Single and MaxOn hold
)

// Failsafe says what becomes of an output that nobody controls any more.
type Failsafe struct {
	// After is the time from the loss of the link, or from the last command if that came later.
	After  time.Duration
	Action Action
	// Renew demands a command at least every After, whether the link is up or not.
	Renew bool
}

// Rules are what an output is held to. The zero value has none.
type Rules struct {
	// MaxOn is the longest time that the line may be on without a break; 0 is for ever. It counts from when the line went on,
	// whatever is commanded meanwhile; only an OFF of the line ends it, which the pause of a pattern is not.
	MaxOn time.Duration
	// Pulse is how long a pulse is unless the command says so; 0 makes a pulse without a time an error.
	Pulse time.Duration
	// Single makes every ON without a time a pulse.
	Single   bool
	Failsafe *Failsafe // nil: hold, and report nothing
}

// Spec is one output to be set up.
type Spec struct {
	Rules
	Name string
	On   bool // what the line is requested with
	// Since and Commanded are when an output that begins on went on, and was last commanded, in a bank before; zero means now. MaxOn
	// and a Failsafe with Renew count from there.
	Since, Commanded time.Time
}

// Group is an interlock: never are two of the outputs named on, and Dead is the least time between the OFF of one and the ON of
// another. A blinking output counts as on in its pauses too.
type Group struct {
	Names []string
	Dead  time.Duration
}

// Change is what a line must be told.
type Change struct {
	Name string
	On   bool
	Why  string // one of the Why constants
}

// State is what an output is.
type State struct {
	// On is what the line was told last, or is held to be; with a pattern, whether it is lit at present.
	On bool
	// Pending says that the output is to go on but waits for the dead time of its interlock, for Retry, or for Due.
	Pending bool
	// Until is when that will change by itself: while Pending when the line is to go on, otherwise the end of the timer or of
	// the longest time on. It is zero where that is never, not known, or a matter of a pattern.
	Until time.Time
	// Pattern is the name of the pattern that is blinking, or "".
	Pattern string
	// Failsafe says that the failsafe acted and no command came since; with FailsafeHold and no Renew the link's return ends it.
	Failsafe bool
	// MaxedOut says that the output was switched off after the longest time on and has not been told anything since.
	MaxedOut bool
	// Why is the reason of what the output is to be, which may change without a Change: "" at the start.
	Why string
}
