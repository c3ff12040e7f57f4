package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Genre says what a value is for.
type Genre int

// The genres.
const (
	Basic   Genre = 1 // the value itself
	User    Genre = 2 // what an ordinary user wants
	Config  Genre = 3 // parameters of the device
	System  Genre = 4 // the protocol's own
	Command Genre = 5 // complex commands
)

// Genres returns all genres in order.
func Genres() []Genre { return []Genre{Basic, User, Config, System, Command} }

// String returns the genre's word in topics, and its number where it has none.
func (g Genre) String() string {
	words := []string{"basic", "user", "config", "system", "command"}
	if g < Basic || g > Command {
		return strconv.Itoa(int(g))
	}
	return words[g-1]
}

// ParseGenre returns the genre of a word of topics, and whether there is one.
func ParseGenre(word string) (Genre, bool) {
	for _, g := range Genres() {
		if g.String() == word {
			return g, true
		}
	}
	return 0, false
}

// The uuids of discovery requests.
const (
	InfoNodes    = "request_info_nodes"
	InfoUsers    = "request_info_users"
	InfoConfigs  = "request_info_configs"
	InfoSystems  = "request_info_systems"
	InfoBasics   = "request_info_basics"
	InfoCommands = "request_info_commands"
)

// Infos returns the uuids of all discovery requests, in the order in which a primary asks them.
func Infos() []string {
	return []string{InfoNodes, InfoSystems, InfoCommands, InfoConfigs, InfoBasics, InfoUsers}
}

// InfoGenre returns the genre that a discovery request asks for, 0 for InfoNodes, and whether it is one of Infos.
func InfoGenre(uuid string) (Genre, bool) {
	switch uuid {
	case InfoNodes:
		return 0, true
	case InfoBasics:
		return Basic, true
	case InfoUsers:
		return User, true
	case InfoConfigs:
		return Config, true
	case InfoSystems:
		return System, true
	case InfoCommands:
		return Command, true
	}
	return 0, false
}

// Type is the type of a value's data.
type Type int

// The types.
const (
	TypeBool     Type = 1
	TypeByte     Type = 2
	TypeDecimal  Type = 3 // a float
	TypeInt      Type = 4
	TypeList     Type = 5 // one of list_items
	TypeSchedule Type = 6
	TypeShort    Type = 7
	TypeString   Type = 8
	TypeButton   Type = 9
	TypeRaw      Type = 16
	TypePassword Type = 20
	TypeJSON     Type = 21
	TypeArray    Type = 22 // separated by |
	TypeVar      Type = 23
	TypeHadd     Type = 32
	TypeIP       Type = 33
	TypeRGB      Type = 48 // r#g#b
)

// Truth returns a text as a bool: 0, false, off and no in any case are false, all else is true.
func Truth(s string) bool {
	switch strings.ToLower(s) {
	case "0", "false", "off", "no":
		return false
	}
	return true
}

// Convert returns a text as data of the type: a bool, json.Number, []any of strings or string. An error says what is no number.
func (t Type) Convert(s string) (any, error) {
	switch t {
	case TypeBool:
		return Truth(s), nil
	case TypeByte, TypeInt, TypeShort:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no whole number", s)
		}
		return Int(n), nil
	case TypeDecimal:
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%.40q is no number", s)
		}
		return Float(f), nil
	case TypeArray:
		var out []any
		for part := range strings.SplitSeq(s, "|") {
			out = append(out, part)
		}
		return out, nil
	}
	return s, nil
}

// Command classes in use (JANITOO.md §3.3); CmdClasses has all.
const (
	CmdNone              = 0
	CmdAction            = 1 // of plain actions; it is in no list
	CmdSwitchBinary      = 37
	CmdSwitchMultilevel  = 38
	CmdSensorBinary      = 48
	CmdSensorMultilevel  = 49
	CmdMeter             = 50
	CmdConfiguration     = 112
	CmdAlarm             = 113
	CmdDHCPD             = 4096
	CmdDHCPC             = 4097
	CmdWebController     = 4144
	CmdWebResource       = 4145
	CmdDocResource       = 4146
	CmdController        = 4176
	CmdNetworkController = 4177
	CmdFSM               = 4272
	CmdRoombaVacuum      = 8192
	CmdRoombaDrive       = 8193
	CmdLog               = 10240
	CmdButtonBinary      = 12288
	CmdButtonMultilevel  = 12289
	CmdNotify            = 12304
	CmdShutterBinary     = 12624
	CmdShutterMultilevel = 12625
	CmdBlink             = 12803
	CmdUpDown            = 12804
	CmdDiscovery         = 20480
)

// Capabilities of nodes that are met.
const (
	CapPrimary = 1
	CapDynamic = 4 // of controllers
	CapTiny    = 5
)
