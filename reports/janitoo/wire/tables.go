package wire

// Named is a number of the protocol with its name.
type Named struct {
	Number int
	Name   string
	Doc    string // what it is, where Janitoo says so
}

// nameOf returns the name of a number, "" where it has none.
func nameOf(all []Named, n int) string {
	for _, a := range all {
		if a.Number == n {
			return a.Name
		}
	}
	return ""
}

// CmdClassName returns the name of a command class as Janitoo prints it, "" for one that is in no list.
func CmdClassName(n int) string { return nameOf(CmdClasses(), n) }

// CapabilityName returns the name of a capability as Janitoo prints it, "" for one that is in no list.
func CapabilityName(n int) string { return nameOf(Capabilities(), n) }

// TypeName returns the name of a type as Janitoo prints it, "" for one that is in no list.
func TypeName(t Type) string { return nameOf(Types(), int(t)) }

// GenreNames returns the genres with what Janitoo prints of them, by number.
func GenreNames() []Named {
	return []Named{
		{1, "Basic", "The 'level' as controlled by basic commands."},
		{2, "User", "Values an ordinary user would be interested in."},
		{3, "Config", "Device-specific configuration parameters."},
		{4, "System", "Values of significance only to users who understand the Janitoo protocol"},
		{5, "Command", "Send a complex command to the controller. Used for advanced configuration"},
	}
}

// Types returns the types with what Janitoo prints of them, by number.
func Types() []Named {
	return []Named{
		{1, "Bool", "Boolean, true or false"},
		{2, "Byte", "8-bit unsigned value"},
		{3, "Decimal", "Represents a non-integer value as a string, to avoid floating point accuracy issues."},
		{4, "Int", "32-bit signed value"},
		{5, "List", "List from which one item can be selected"},
		{6, "Schedule", "Complex type used with the Climate Control Schedule command class"},
		{7, "Short", "16-bit signed value"},
		{8, "String", "Text string"},
		{9, "Button", "A write-only value that is the equivalent of pressing a button to send a command to a device"},
		{16, "Raw", "Raw byte values"},
		{20, "Password", "A password"},
		{21, "Json", "A JSON representation of a complex type"},
		{22, "Array", "An array repsented as values separated by pipe"},
		{23, "Var", "A variable type used by remote values."},
		{32, "HADD", "An hadd ie 1111/0000"},
		{33, "IP", "An ip adress ie 192.168.1.1"},
		{48, "RGB", "RGB color represented as bytes separated by # : bbb#bbb#bbb"},
	}
}

// Capabilities returns the capabilities of nodes, by number.
func Capabilities() []Named {
	return []Named{
		{Number: 0, Name: "CAPABILITY_NO_OPERATION"},
		{Number: 1, Name: "CAPABILITY_PRIMARY_CONTROLLER"},
		{Number: 2, Name: "CAPABILITY_STATIC_UPDATE_CONTROLLER"},
		{Number: 3, Name: "CAPABILITY_BRIDGE_CONTROLLER"},
		{Number: 4, Name: "CAPABILITY_DYNAMIC_CONTROLLER"},
		{Number: 5, Name: "CAPABILITY_TINY_CONTROLLER"},
		{Number: 16, Name: "CAPABILITY_ROUTING"},
		{Number: 32, Name: "CAPABILITY_LISTENING"},
		{Number: 33, Name: "CAPABILITY_FREQUENT"},
		{Number: 80, Name: "CAPABILITY_SECURITY"},
		{Number: 96, Name: "CAPABILITY_BEAMING"},
		{Number: 128, Name: "CAPABILITY_SLEEPING"},
	}
}

// CmdClasses returns all command classes that Janitoo lists, by number.
func CmdClasses() []Named {
	return []Named{
		{Number: 0, Name: "COMMAND_NO_OPERATION"},
		{Number: 32, Name: "COMMAND_BASIC"},
		{Number: 33, Name: "COMMAND_CONTROLLER_REPLICATION"},
		{Number: 34, Name: "COMMAND_APPLICATION_STATUS"},
		{Number: 35, Name: "COMMAND_ZIP_SERVICES"},
		{Number: 36, Name: "COMMAND_ZIP_SERVER"},
		{Number: 37, Name: "COMMAND_SWITCH_BINARY"},
		{Number: 38, Name: "COMMAND_SWITCH_MULTILEVEL"},
		{Number: 39, Name: "COMMAND_SWITCH_ALL"},
		{Number: 40, Name: "COMMAND_SWITCH_TOGGLE_BINARY"},
		{Number: 41, Name: "COMMAND_SWITCH_TOGGLE_MULTILEVEL"},
		{Number: 42, Name: "COMMAND_CHIMNEY_FAN"},
		{Number: 43, Name: "COMMAND_SCENE_ACTIVATION"},
		{Number: 44, Name: "COMMAND_SCENE_ACTUATOR_CONF"},
		{Number: 45, Name: "COMMAND_SCENE_CONTROLLER_CONF"},
		{Number: 46, Name: "COMMAND_ZIP_CLIENT"},
		{Number: 47, Name: "COMMAND_ZIP_ADV_SERVICES"},
		{Number: 48, Name: "COMMAND_SENSOR_BINARY"},
		{Number: 49, Name: "COMMAND_SENSOR_MULTILEVEL"},
		{Number: 50, Name: "COMMAND_METER"},
		{Number: 51, Name: "COMMAND_CLASS_COLOR"},
		{Number: 52, Name: "COMMAND_ZIP_ADV_CLIENT"},
		{Number: 53, Name: "COMMAND_METER_PULSE"},
		{Number: 56, Name: "COMMAND_THERMOSTAT_HEATING"},
		{Number: 60, Name: "COMMAND_METER_TBL_CONFIG"},
		{Number: 61, Name: "COMMAND_METER_TBL_MONITOR"},
		{Number: 62, Name: "COMMAND_METER_TBL_PUSH"},
		{Number: 64, Name: "COMMAND_THERMOSTAT_MODE"},
		{Number: 66, Name: "COMMAND_THERMOSTAT_OPERATING_STATE"},
		{Number: 67, Name: "COMMAND_THERMOSTAT_SETPOINT"},
		{Number: 68, Name: "COMMAND_THERMOSTAT_FAN_MODE"},
		{Number: 69, Name: "COMMAND_THERMOSTAT_FAN_STATE"},
		{Number: 70, Name: "COMMAND_CLIMATE_CONTROL_SCHEDULE"},
		{Number: 71, Name: "COMMAND_THERMOSTAT_SETBACK"},
		{Number: 76, Name: "COMMAND_DOOR_LOCK_LOGGING"},
		{Number: 78, Name: "COMMAND_SCHEDULE_ENTRY_LOCK"},
		{Number: 80, Name: "COMMAND_BASIC_WINDOW_COVERING"},
		{Number: 81, Name: "COMMAND_MTP_WINDOW_COVERING"},
		{Number: 96, Name: "COMMAND_MULTI_CHANNEL_V2"},
		{Number: 97, Name: "COMMAND_DISPLAY"},
		{Number: 98, Name: "COMMAND_DOOR_LOCK"},
		{Number: 99, Name: "COMMAND_USER_CODE"},
		{Number: 100, Name: "COMMAND_GARAGE_DOOR"},
		{Number: 112, Name: "COMMAND_CONFIGURATION"},
		{Number: 113, Name: "COMMAND_ALARM"},
		{Number: 114, Name: "COMMAND_MANUFACTURER_SPECIFIC"},
		{Number: 115, Name: "COMMAND_POWERLEVEL"},
		{Number: 117, Name: "COMMAND_PROTECTION"},
		{Number: 118, Name: "COMMAND_LOCK"},
		{Number: 119, Name: "COMMAND_NODE_NAMING"},
		{Number: 120, Name: "COMMAND_ACTUATOR_MULTILEVEL"},
		{Number: 121, Name: "COMMAND_KICK"},
		{Number: 122, Name: "COMMAND_FIRMWARE_UPDATE_MD"},
		{Number: 123, Name: "COMMAND_GROUPING_NAME"},
		{Number: 124, Name: "COMMAND_REMOTE_ASSOCIATION_ACTIVATE"},
		{Number: 125, Name: "COMMAND_REMOTE_ASSOCIATION"},
		{Number: 128, Name: "COMMAND_BATTERY"},
		{Number: 129, Name: "COMMAND_CLOCK"},
		{Number: 130, Name: "COMMAND_HAIL"},
		{Number: 131, Name: "COMMAND_NETWORK_STAT"},
		{Number: 132, Name: "COMMAND_WAKE_UP"},
		{Number: 133, Name: "COMMAND_ASSOCIATION"},
		{Number: 134, Name: "COMMAND_VERSION"},
		{Number: 135, Name: "COMMAND_INDICATOR"},
		{Number: 136, Name: "COMMAND_PROPRIETARY"},
		{Number: 137, Name: "COMMAND_LANGUAGE"},
		{Number: 138, Name: "COMMAND_TIME"},
		{Number: 139, Name: "COMMAND_TIME_PARAMETERS"},
		{Number: 140, Name: "COMMAND_GEOGRAPHIC_LOCATION"},
		{Number: 141, Name: "COMMAND_COMPOSITE"},
		{Number: 142, Name: "COMMAND_MULTI_INSTANCE_ASSOCIATION"},
		{Number: 143, Name: "COMMAND_MULTI_CMD"},
		{Number: 144, Name: "COMMAND_ENERGY_PRODUCTION"},
		{Number: 145, Name: "COMMAND_MANUFACTURER_PROPRIETARY"},
		{Number: 146, Name: "COMMAND_SCREEN_MD"},
		{Number: 147, Name: "COMMAND_SCREEN_ATTRIBUTES"},
		{Number: 148, Name: "COMMAND_SIMPLE_AV_CONTROL"},
		{Number: 149, Name: "COMMAND_AV_CONTENT_DIRECTORY_MD"},
		{Number: 150, Name: "COMMAND_AV_RENDERER_STATUS"},
		{Number: 151, Name: "COMMAND_AV_CONTENT_SEARCH_MD"},
		{Number: 152, Name: "COMMAND_SECURITY"},
		{Number: 153, Name: "COMMAND_AV_TAGGING_MD"},
		{Number: 154, Name: "COMMAND_IP_CONFIGURATION"},
		{Number: 155, Name: "COMMAND_ASSOCIATION_CONFIGURATION"},
		{Number: 156, Name: "COMMAND_SENSOR_ALARM"},
		{Number: 157, Name: "COMMAND_SILENCE_ALARM"},
		{Number: 158, Name: "COMMAND_SENSOR_CONFIGURATION"},
		{Number: 239, Name: "COMMAND_MARK"},
		{Number: 240, Name: "COMMAND_NON_INTEROPERABLE"},
		{Number: 4096, Name: "COMMAND_DHCPD"},
		{Number: 4097, Name: "COMMAND_DHCPC"},
		{Number: 4112, Name: "COMMAND_EVENT_ACTIVATION"},
		{Number: 4113, Name: "COMMAND_EVENT_ACTUATOR_CONF"},
		{Number: 4114, Name: "COMMAND_EVENT_CONTROLLER_CONF"},
		{Number: 4128, Name: "COMMAND_SCENARIO_ACTIVATION"},
		{Number: 4129, Name: "COMMAND_SCENARIO_ACTUATOR_CONF"},
		{Number: 4130, Name: "COMMAND_SCENARIO_CONTROLLER_CONF"},
		{Number: 4144, Name: "COMMAND_WEB_CONTROLLER"},
		{Number: 4145, Name: "COMMAND_WEB_RESOURCE"},
		{Number: 4146, Name: "COMMAND_DOC_RESOURCE"},
		{Number: 4160, Name: "COMMAND_UPDATE"},
		{Number: 4176, Name: "COMMAND_CONTROLLER"},
		{Number: 4177, Name: "COMMAND_NETWORK_CONTROLLER"},
		{Number: 4192, Name: "COMMAND_NDDE"},
		{Number: 4256, Name: "COMMAND_JMI"},
		{Number: 4272, Name: "COMMAND_FSM"},
		{Number: 8192, Name: "COMMAND_ROOMBA_VACUUM"},
		{Number: 8193, Name: "COMMAND_ROOMBA_DRIVE"},
		{Number: 8448, Name: "COMMAND_AV_CHANNEL"},
		{Number: 8449, Name: "COMMAND_AV_VOLUME"},
		{Number: 8450, Name: "COMMAND_AV_SOURCE"},
		{Number: 8704, Name: "COMMAND_CAMERA_PREVIEW"},
		{Number: 8705, Name: "COMMAND_CAMERA_PHOTO"},
		{Number: 8706, Name: "COMMAND_CAMERA_VIDEO"},
		{Number: 8707, Name: "COMMAND_CAMERA_STREAM"},
		{Number: 10240, Name: "COMMAND_LOG"},
		{Number: 12288, Name: "COMMAND_BUTTON_BINARY"},
		{Number: 12289, Name: "COMMAND_BUTTON_MULTILEVEL"},
		{Number: 12290, Name: "COMMAND_BUTTON_ALL"},
		{Number: 12304, Name: "COMMAND_NOTIFY"},
		{Number: 12544, Name: "COMMAND_MOTOR"},
		{Number: 12624, Name: "COMMAND_SHUTTER_BINARY"},
		{Number: 12625, Name: "COMMAND_SHUTTER_MULTILEVEL"},
		{Number: 12626, Name: "COMMAND_SHUTTER_ALL"},
		{Number: 12629, Name: "COMMAND_BELL"},
		{Number: 12800, Name: "COMMAND_SCREEN_DRAW"},
		{Number: 12801, Name: "COMMAND_SCREEN_MESSAGE"},
		{Number: 12802, Name: "COMMAND_SCREEN_CLEAR"},
		{Number: 12803, Name: "COMMAND_BLINK"},
		{Number: 12804, Name: "COMMAND_UPDOWN"},
		{Number: 20480, Name: "COMMAND_DISCOVERY"},
	}
}
