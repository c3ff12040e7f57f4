package janitoo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"rollcall/config"
	"rollcall/reports"
)

// reserved reports whether a name is a word of the topics, which no host or service may have.
func reserved(s string) bool { return slices.Contains(reports.Verbs, s) || s == "status" || s == "udp" }

// unique returns a name that is not taken: the name itself, or with _2, _3, … behind it.
func unique(name string, taken func(string) bool) string {
	out := name
	for n := 2; taken(out); n++ {
		out = fmt.Sprintf("%s_%d", name, n)
	}
	return out
}

// has returns whether a name is in m.
func has[V any](m map[string]V) func(string) bool {
	return func(name string) bool { _, ok := m[name]; return ok }
}

// sorted returns notes in the order of their lines.
func sorted(notes []Note) []Note {
	slices.SortStableFunc(notes, func(a, b Note) int { return a.Line - b.Line })
	return notes
}

// write returns the configuration.
func (im *importer) write(sources []Source) ([]byte, error) {
	var b bytes.Buffer
	for _, s := range sources {
		fmt.Fprintf(&b, "# From %s, a configuration of Janitoo.\n", strings.Trim(fmt.Sprintf("%q", s.Name), `"`))
	}
	if im.host != "" {
		if err := block(&b, "", "host", im.host); err != nil {
			return nil, err
		}
	}
	if im.broker.url != "" {
		if err := im.writeBroker(&b); err != nil {
			return nil, err
		}
	}
	if err := im.writeFaces(&b); err != nil {
		return nil, err
	}
	err := im.writeAgents(&b)
	return b.Bytes(), err
}

func (im *importer) writeBroker(b *bytes.Buffer) error {
	options := map[string]string{"url": im.broker.url}
	if im.broker.user == "" || im.PasswordFile == "" {
		if err := block(b, "", "broker", options); err != nil || im.broker.user == "" {
			return err
		}
		var login bytes.Buffer
		if err := block(&login, "  # ", "username", im.broker.user); err != nil {
			return err
		}
		b.Write(login.Bytes())
		b.WriteString("  # password_file: /etc/rollcall/mqtt_password\n")
		return nil
	}
	options["username"], options["password_file"] = im.broker.user, im.PasswordFile
	return block(b, "", "broker", options)
}

func (im *importer) writeAgents(b *bytes.Buffer) error {
	if len(im.agents) > 0 {
		b.WriteString("agents:\n")
	}
	for _, a := range im.agents {
		options := a.options
		if a.kind != a.name {
			options["agent"] = a.kind
		}
		if len(a.polls) > 0 {
			points := map[string]map[string]reports.Duration{}
			for pattern, d := range a.polls {
				points[pattern] = map[string]reports.Duration{"poll": d}
			}
			options["points"] = points
		}
		var from []string
		for _, section := range a.from {
			if text := "[" + shown(section) + "]"; plain(text) && !slices.Contains(from, text) {
				from = append(from, text)
			}
		}
		fmt.Fprintf(b, "  # %s\n", strings.Join(from, ", "))
		if err := block(b, "  ", a.name, options); err != nil {
			return err
		}
	}
	return nil
}

// block writes one key of a map and what is below it, indented.
func block(b *bytes.Buffer, indent, name string, v any) error {
	doc, err := config.Marshal(map[string]any{name: v})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	for line := range strings.Lines(string(doc)) {
		b.WriteString(indent + line)
	}
	return nil
}
