package agents

import (
	"fmt"
	"sync/atomic"
)

// Reloader is an agent that can go on with other options, so that a reload of the configuration switches nothing that it leaves as it
// was. Any other agent is closed and made anew.
type Reloader interface {
	Agent
	// Reload brings other options into force as New would, with a log and a link of its own, since those of before have ended. What
	// they leave as it was is not disturbed. Describe may differ afterwards; Events returns the same channel. With an error all is
	// as it was before, but for the log and the link.
	Reload(Options, Deps) error
}

// faultReload is the key of the fault that other options could not be brought into force.
const faultReload = "(reload)"

// handover is how an agent goes on when a reload puts another service of its name in the place of its own.
type handover struct {
	wanted  atomic.Bool // the next service takes the agent; set by the runner before the stop
	left    Reloader    // for the next service; read by the runner when this one has ended
	heir    Reloader    // of the service before; set by the runner before the start, and owned by the loop then
	refused atomic.Bool // the agent did not take its options: another reload tries again
}

// leave keeps the agent for the next service, if that wants it, and reports whether it has.
func (s *service) leave() bool {
	agent, ok := s.inst.agent.(Reloader)
	if !ok || !s.ready || !s.handover.wanted.Load() {
		return false
	}
	s.drain()
	if s.mute {
		return false
	}
	s.handover.left = agent
	s.ready, s.inst.agent = false, nil
	s.inst.retire()
	s.inst = nil
	return true
}

// make returns a new agent, or the heir with the options of this service. An error with refused leaves the agent as good as it was.
func (h *handover) make(heir Reloader, e entry, d Deps) (agent Agent, refused, err error) {
	if heir == nil {
		agent, err = e.factory.New(e.options, d)
		return agent, nil, err
	}
	if refused = heir.Reload(e.options, d); refused != nil {
		h.refused.Store(true)
	}
	return heir, refused, nil
}

// refuse makes known that the agent did not take its options.
func (s *service) refuse(err error) {
	if err != nil {
		s.fault(faultReload, fmt.Sprintf("new configuration refused, what was before stays in force: %v", err))
	}
}

// disown closes an heir that the service never took. It has ended, or was never begun.
func (s *service) disown() {
	if heir := s.handover.heir; heir != nil {
		s.handover.heir = nil
		if err := guard(heir.Close); err != nil {
			s.log.Warn("close agent", "err", err)
		}
	}
}
