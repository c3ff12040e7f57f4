package agents

import (
	"encoding/json"

	"rollcall/config"
	"rollcall/reports"
)

// envelope reads id and reply of a control block in YAML, as ParseCommand does of one in JSON. What is no YAML is left to whom
// the block is for.
func envelope(c *reports.Command) error {
	block, _ := c.Value.([]byte) // always, by ParseCommand
	if !verbLine.Match(block) || json.Valid(block) {
		return nil
	}
	n, err := config.ParseNode("control", block)
	if err != nil {
		return nil
	}
	entries, err := n.Entries()
	if err != nil {
		return nil
	}
	for _, e := range entries {
		switch e.Key {
		case "id":
			err = yamlID(e.Value, &c.ID)
		case "reply":
			err = yamlReply(e.Value, &c.Reply)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// yamlID reads the id of a command: a number, or a text.
func yamlID(n config.Node, id *reports.ID) error {
	var text string
	if err := n.Decode(&text); err != nil {
		return reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	var number float64
	token := []byte(text)
	if n.Decode(&number) != nil || !json.Valid(token) {
		token, _ = json.Marshal(text) // a text always can be marshalled
	}
	return id.UnmarshalJSON(token)
}

// yamlReply reads the topic that a result goes to as well.
func yamlReply(n config.Node, topic *string) error {
	var text string
	if err := n.Decode(&text); err != nil {
		return reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	if err := reports.ValidReply(text); err != nil {
		return err
	}
	*topic = text
	return nil
}
