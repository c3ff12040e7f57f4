package agents

// All returns the factories of every kind of agent, in the order of their names.
func All() []Factory {
	return []Factory{ainFactory(), cpuFactory(), dacFactory(), dht22Factory(), displayFactory(), ds18b20Factory(), execFactory(), gpioFactory(), hostsensorFactory(),
		nutFactory(), pingFactory(), sonarFactory()}
}
