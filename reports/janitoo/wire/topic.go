package wire

import (
	"strings"

	"rollcall/reports"
)

// Topics. Every one begins with a slash; all messages are QoS 0 and not retained (JANITOO.md §0).
const (
	BroadcastRequest = "/broadcast/request"       // discovery requests to all controllers
	HeartbeatAll     = "/dhcp/heartbeat/"         // where a primary tells of others' states, and the root of all heartbeats
	HeartbeatFilter  = "/dhcp/heartbeat/#"        // all heartbeats
	ValuesFilter     = "/values/#"                // all values
	ResolvHeartbeat  = "/dhcp/resolv/heartbeat"   // a primary's own
	ResolvRequest    = "/dhcp/resolv/request/"    // a secondary asks its primary
	ResolvBroadcast  = "/dhcp/resolv/broadcast/"  // a primary's answer to all
	ResolvReplyRoot  = "/dhcp/resolv/reply/"      // a primary's answer to one: below it the requester's address
	ResolvFilter     = "/dhcp/resolv/#"           // all of these
	LeaseRoot        = "/dhcp/lease/"             // below it: new, repair, lock, release, remove
	LeaseReplyRoot   = "/reply/"                  // below it the client's rep_uuid
	ResolvHadd       = "/dhcp/resolv/hadd"        // who has an address
	ResolvName       = "/dhcp/resolv/name"        // who has a name
	ResolvCmdClasses = "/dhcp/resolv/cmd_classes" // who has a command class
	DefaultReplyHadd = Hadd("9999/9990")          // where jnt_query wants its answers
)

// HeartbeatTopic is where a node says that it is there.
func HeartbeatTopic(h Hadd) string { return HeartbeatAll + string(h) }

// RequestTopic is where a node is asked.
func RequestTopic(h Hadd) string { return "/nodes/" + string(h) + "/request" }

// ReplyTopic is where an asker hears the answers to what it asked nodes.
func ReplyTopic(reply string) string { return "/nodes/" + reply + "/reply" }

// BroadcastReplyTopic is where an asker hears the answers to what it asked all.
func BroadcastReplyTopic(reply string) string { return "/broadcast/reply/" + reply }

// ControllerFilter is what a controller listens to beside BroadcastRequest: all requests to its nodes.
func ControllerFilter(ctrl int) string { return "/nodes/" + string(NewHadd(ctrl, 0)[:4]) + "/#" }

// ValueTopic is where a value stands: /values/<genre>/<hadd>/<uuid>.
func ValueTopic(g Genre, h Hadd, uuid string) string {
	return "/values/" + g.String() + "/" + string(h) + "/" + uuid
}

// PollTopic is where a polled value stands. What is neither basic, user nor config stands with the users' values (JANITOO.md §1.6).
func PollTopic(g Genre, h Hadd, uuid string) string {
	if g != Basic && g != Config {
		g = User
	}
	return ValueTopic(g, h, uuid)
}

// ParseRequestTopic returns the node that a request is for, and whether the topic is one of requests to nodes.
func ParseRequestTopic(topic string) (Hadd, bool) {
	rest, ok := strings.CutPrefix(topic, "/nodes/")
	addr, is := strings.CutSuffix(rest, "/request")
	return Hadd(addr), ok && is && Hadd(addr).Valid()
}

// ParseValueTopic returns what the topic of a value says, and whether it is one.
func ParseValueTopic(topic string) (g Genre, h Hadd, uuid string, ok bool) {
	segs := strings.SplitN(topic, "/", 6)
	if len(segs) != 6 || segs[0] != "" || segs[1] != "values" || segs[5] == "" || len(segs[5]) > MaxUUID {
		return 0, "", "", false
	}
	g, known := ParseGenre(segs[2])
	h = Hadd(segs[3] + "/" + segs[4])
	return g, h, segs[5], known && h.Valid()
}

// validReply reports whether answers may go to the address that a stranger names: it becomes a part of topics.
func validReply(s string) bool {
	return len(s) <= MaxUUID && reports.ValidTopic(s) == nil && !strings.HasPrefix(s, "/")
}
