package agents

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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

// The questions that the nut agent asks, on a connection that has its deadline.

// send writes one line.
func (c *nutClient) send(line string) error {
	_, err := io.WriteString(c.conn, line+"\n")
	return err
}

// receive reads one line and returns its words, or the error that upsd answered with.
func (c *nutClient) receive() ([]string, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("upsd at %s has sent a line of more than %d bytes", c.address, nutMaxLine)
	case err == io.EOF:
		return nil, fmt.Errorf("upsd at %s has closed the connection", c.address)
	case err != nil:
		return nil, err
	}
	text := strings.TrimRight(string(line), "\r\n")
	words, err := nutWords(text)
	if err == nil && len(words) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%.60q is no line of upsd: %w", text, err)
	}
	if words[0] == "ERR" && len(words) > 1 {
		return nil, &nutError{words[1], nutAdvice(words[1], c.ups, c.o.Username)}
	}
	return words, nil
}

// expectOK sends a line that is answered with OK.
func (c *nutClient) expectOK(line string) error {
	if err := c.send(line); err != nil {
		return err
	}
	words, err := c.receive()
	if err != nil {
		return err
	}
	if words[0] != "OK" {
		return fmt.Errorf("upsd answers %.60q, which is not OK", strings.Join(words, " "))
	}
	return nil
}

// query asks for a list and calls take with the words of each of its lines, which begin as the list is called.
func (c *nutClient) query(list []string, take func(rest []string) error) error {
	quoted := slices.Clone(list)
	for i := 1; i < len(quoted); i++ {
		quoted[i] = nutQuote(quoted[i])
	}
	if err := c.send("LIST " + strings.Join(quoted, " ")); err != nil {
		return err
	}
	words, err := c.receive()
	if err != nil {
		return err
	}
	if !slices.Equal(words, append([]string{"BEGIN", "LIST"}, list...)) {
		return fmt.Errorf("upsd answers %.60q to a question for a list", strings.Join(words, " "))
	}
	size := 0
	for range nutMaxLines {
		words, err := c.receive()
		for _, w := range words {
			size += len(w)
		}
		if _, refused := errors.AsType[*nutError](err); refused {
			return fmt.Errorf("in a list %s", err) // no longer in step
		} else if err != nil {
			return err
		} else if size > nutMaxList {
			return fmt.Errorf("upsd sends a list of more than %d bytes", nutMaxList)
		}
		if slices.Equal(words, append([]string{"END", "LIST"}, list...)) {
			return nil
		}
		if len(words) < len(list) || !slices.Equal(words[:len(list)], list) {
			return fmt.Errorf("upsd sends %.60q in a list of %s", strings.Join(words, " "), strings.Join(list, " "))
		}
		if err := take(words[len(list):]); err != nil {
			return err
		}
	}
	return fmt.Errorf("upsd sends a list of more than %d lines", nutMaxLines)
}

// find finds the only UPS that upsd has.
func (c *nutClient) find() error {
	var names []string
	err := c.query([]string{"UPS"}, func(rest []string) error {
		if len(rest) != 2 {
			return fmt.Errorf("a UPS is described with %d words", len(rest))
		}
		names = append(names, rest[0])
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return errors.New("upsd has no UPS: ups.conf has no section")
	case len(names) > 1:
		return fmt.Errorf("upsd has several UPSes: set ups to one of %.200q", names)
	}
	c.ups = names[0]
	return nil
}

// variables reads the variables of the UPS.
func (c *nutClient) variables() (map[string]string, error) {
	vars := map[string]string{}
	err := c.query([]string{"VAR", c.ups}, func(rest []string) error {
		if len(rest) != 2 {
			return fmt.Errorf("a variable has %d words", len(rest))
		}
		vars[rest[0]] = rest[1]
		return nil
	})
	if err != nil {
		return nil, err
	}
	if vars["ups.status"] == nutWait { // the variables are not all there
		return nil, &nutError{nutWait, nutAdvice(nutWait, c.ups, "")}
	}
	return vars, nil
}
