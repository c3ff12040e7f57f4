package agents

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The text that upsd speaks, as pure functions: RFC 9271 (Uninterruptible Power Supply (UPS) Management Protocol), §4 and §5.

// Errors of lines that are not upsd's.
var (
	errNUTQuote   = errors.New("a quote is not closed")
	errNUTEscape  = errors.New("a backslash stands at the end")
	errNUTControl = errors.New("it has a control character")
	errNUTGlued   = errors.New("a quote stands inside of a word")
)

// nutWords splits a line into its words. One in double quotes may hold spaces, and \" and \\ for those characters.
func nutWords(line string) ([]string, error) {
	var words []string
	for i := 0; i < len(line); {
		if line[i] == ' ' {
			i++
			continue
		}
		word, n, err := nutWord(line[i:])
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		i += n
	}
	return words, nil
}

// nutWord reads the word that the text begins with, and says how many bytes it took.
func nutWord(s string) (word string, n int, err error) {
	var b strings.Builder
	quoted := s[0] == '"'
	if quoted {
		n++
	}
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case c < ' ' || c == 0x7f:
			return "", 0, errNUTControl
		case c == '\\':
			if n++; n == len(s) {
				return "", 0, errNUTEscape
			}
			if s[n] < ' ' || s[n] == 0x7f {
				return "", 0, errNUTControl
			}
			b.WriteByte(s[n])
		case c == '"' && !quoted:
			return "", 0, errNUTGlued
		case c == '"':
			if n++; n < len(s) && s[n] != ' ' {
				return "", 0, errNUTGlued
			}
			return b.String(), n, nil
		case c == ' ' && !quoted:
			return b.String(), n, nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", 0, errNUTQuote
	}
	return b.String(), n, nil
}

// nutQuote writes a word so that nutWords, and upsd, read it as one. To upsd a # begins a comment even between quotes, and the
// question is never answered: its own clients put a backslash before it (pconf_encode in common/parseconf.c).
func nutQuote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `#`, `\#`).Replace(word) + `"`
}

// nutPlain returns an error if the text can't stand in a line, quoted or not.
func nutPlain(s string) error {
	if len(s) > nutMaxWord {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), nutMaxWord)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errNUTControl
	}
	return nil
}

// nutFlag is a word of ups.status.
type nutFlag struct{ word, path, says, help string }

// nutFlags are the words of ups.status: RFC 9271 §5.1 (OL to FSD), and ALARM of docs/new-drivers.txt of NUT.
func nutFlags() []nutFlag {
	return []nutFlag{
		{"OL", "on_line", "on line power", "OL: mains power is there"},
		{"OB", "on_battery", "on battery", "OB: mains power is gone, the battery feeds the load"},
		{"LB", "low_battery", "battery low", "LB: the battery is low; with OB, it will end soon"},
		{"HB", "high_battery", "battery high", "HB: the battery is charged too high"},
		{"RB", "replace_battery", "battery to be replaced", "RB: the battery must be replaced"},
		{"CHRG", "charging", "charging", "CHRG: the battery is being charged"},
		{"DISCHRG", "discharging", "discharging", "DISCHRG: the battery is being discharged"},
		{"BYPASS", "bypass", "on bypass", "BYPASS: the load is fed past the UPS, and not protected"},
		{"CAL", "calibrating", "calibrating", "CAL: the UPS measures its runtime, on battery"},
		{"OFF", "off", "output off", "OFF: the UPS is off and feeds no load"},
		{"OVER", "overloaded", "overloaded", "OVER: the load is more than the UPS can feed"},
		{"TRIM", "trimming", "trimming high voltage", "TRIM: mains voltage is too high and is made lower"},
		{"BOOST", "boosting", "boosting low voltage", "BOOST: mains voltage is too low and is made higher"},
		{"FSD", "forced_shutdown", "forced shutdown", "FSD: the primary shuts everything down now"},
		{"ALARM", "alarm", "alarm", "ALARM: the UPS has an alarm; see ups.alarm"},
	}
}

// nutHas reports whether the word is one of ups.status.
func nutHas(status, word string) bool { return slices.Contains(strings.Fields(status), word) }

// nutExplain says in words what ups.status means. A word that nobody has explained stays as it is.
func nutExplain(status string) string {
	flags := nutFlags()
	var out []string
	for _, word := range strings.Fields(status) {
		if i := slices.IndexFunc(flags, func(f nutFlag) bool { return f.word == word }); i >= 0 {
			word = flags[i].says
		}
		out = append(out, word)
	}
	if len(out) == 0 {
		return "unknown"
	}
	return strings.Join(out, ", ")
}

// nutNumber reads a number as drivers write it: 13.70, 100, 00012.
func nutNumber(s string) (float64, error) {
	s = strings.TrimSpace(s)
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, "xX_pP") {
		return 0, fmt.Errorf("the UPS says %.40q, which is no number", s)
	}
	return f, nil
}

// nutWait is the status that upsd itself gives a UPS of whose driver it has not heard everything yet (server/upsd.c).
const nutWait = "WAIT"

// nutAdvice says what to do about an error word of upsd (RFC 9271 §4.1 lists them).
func nutAdvice(word, ups, user string) string {
	switch word {
	case "ACCESS-DENIED":
		return fmt.Sprintf("the password or the user %.40q is wrong, or upsd.users gives it no `upsmon secondary`, or upsd lets this host not in", user)
	case "UNKNOWN-UPS":
		return fmt.Sprintf("upsd has no UPS %.40q: see `upsc -l`", ups)
	case "DRIVER-NOT-CONNECTED":
		return "the driver of the UPS does not run: `upsdrvctl start`, or `systemctl status nut-driver@" + ups + "`"
	case "DATA-STALE", nutWait:
		return "the driver gets nothing from the UPS: see its cable, and `journalctl -u nut-driver@" + ups + "`"
	case "FEATURE-NOT-CONFIGURED", "FEATURE-NOT-SUPPORTED":
		return "this upsd does no TLS: it needs CERTFILE (or CERTPATH and CERTIDENT, as on Debian) in upsd.conf"
	case "ALREADY-LOGGED-IN", "ALREADY-SSL-MODE":
		return "something between this host and upsd joins connections"
	}
	return "see upsd's log"
}
