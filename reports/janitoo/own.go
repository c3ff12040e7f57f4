package janitoo

import (
	"encoding/json"
	"strconv"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// maxText is how long a name, a location or data that is kept may be, in bytes.
const maxText = 1024

// setOwn sets one of the protocol's own values, keeps it, and has it act at once; an address acts from the next start on. It returns the
// data of the answer: of system values as it was sent, of config values as it is now (JANITOO.md §1.7).
func (b *bridge) setOwn(v *value, data any) (any, error) {
	n := v.node
	switch v.own {
	case ownHeartbeat, ownTimeout:
		return b.setDelay(v, data)
	case ownHadd:
		return b.setHadd(n, data)
	case ownName:
		return b.setText(v, n.conf.Name, data)
	case ownLocation:
		return b.setText(v, n.conf.Location, data)
	case ownPoll:
		return b.setPoll(v, data)
	}
	return nil, reports.Errorf(reports.CodeReadOnly, "%s is what the service says", v.UUID)
}

// numberOf returns data as a number of seconds from 0 to most.
func numberOf(uuid string, data any, most float64) (float64, error) {
	f, err := strconv.ParseFloat(wordOf(data), 64)
	switch {
	case err != nil || f != f:
		return 0, reports.Errorf(reports.CodeWrongType, "%s: %.40q is no number of seconds", uuid, wordOf(data))
	case f < 0 || f > most:
		return 0, reports.Errorf(reports.CodeOutOfRange, "%s: %s is not from 0 to %s seconds", uuid, reports.FormatValue(f), reports.FormatValue(most))
	}
	return f, nil
}

func (b *bridge) setDelay(v *value, data any) (any, error) {
	f, err := numberOf(v.UUID, data, maxDelay)
	if err != nil {
		return nil, err
	}
	n := v.node
	over := n.conf.Heartbeat
	if v.own == ownTimeout {
		over = n.conf.ConfigTimeout
	}
	if err := b.remember(n.key, v.UUID, over.String(), f); err != nil {
		return nil, err
	}
	if v.own == ownHeartbeat {
		known := b.beats[n.key]
		known.next = after(b.now(), wire.Float(f))
		b.beats[n.key] = known
	}
	return data, nil
}

func (b *bridge) setText(v *value, over string, data any) (any, error) {
	s := wordOf(data)
	if len(s) > maxText {
		return nil, reports.Errorf(reports.CodeTooLarge, "%s has %d bytes, at most %d are kept", v.UUID, len(s), maxText)
	}
	return s, b.remember(v.node.key, v.UUID, over, s)
}

func (b *bridge) setPoll(v *value, data any) (any, error) {
	f, err := numberOf(v.UUID, data, maxPoll)
	if err != nil {
		return nil, err
	}
	f = float64(int64(f))
	n, of := v.node, v.of
	over := ""
	if conf, configured := n.conf.Polls[of.UUID]; configured {
		over = conf.String()
	}
	if err := b.remember(n.key, v.UUID, over, f); err != nil {
		return nil, err
	}
	b.polls[setKey(n.key, of.UUID)] = after(b.now(), wire.Float(f))
	return json.Number(strconv.FormatInt(int64(f), 10)), nil
}

// setHadd keeps an address for the next start. A node stays with its controller.
func (b *bridge) setHadd(n *node, data any) (any, error) {
	s, isText := data.(string)
	h, err := wire.ParseHadd(s)
	switch {
	case !isText || err != nil:
		return nil, reports.Errorf(reports.CodeWrongType, "%.40q is no address CCCC/NNNN", wordOf(data))
	case n.key == "" != h.IsController():
		return nil, reports.Errorf(reports.CodeOutOfRange, "%s: the controller is CCCC/0000, and no other node is", h)
	case n.key != "" && h.Ctrl() != b.ctrl:
		return nil, reports.Errorf(reports.CodeOutOfRange, "%s is of another controller than %04d", h, b.ctrl)
	}
	for _, other := range b.nodes {
		if other != n && other.hadd == h {
			return nil, reports.Errorf(reports.CodeOutOfRange, "%s is the address of %s", h, other.uuid)
		}
	}
	return data, b.remember(n.key, "hadd", b.configuredHadd(n.key), s)
}
