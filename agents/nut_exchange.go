package agents

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

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
