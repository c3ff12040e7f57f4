package agents

import (
	"time"

	"rollcall/reports"
)

// leastPoll returns the shortest poll that a point can be given.
func (s *service) leastPoll(p reports.Point) time.Duration {
	least := minPoll
	if a, ok := s.inst.agent.(Paced); ok {
		least = max(least, a.LeastPoll(p.Path))
	}
	if own := time.Duration(p.Poll); own != 0 {
		least = min(least, own)
	}
	return least
}

// pace raises the poll that the configuration gives a point to what its agent can do.
func (s *service) pace(p reports.Point, r rules) rules {
	least := s.leastPoll(p)
	if r.poll == 0 || r.poll >= least {
		return r
	}
	s.log.Warn("poll of the configuration is too short for the device", "point", p.Path, "poll", r.poll, "raised_to", least)
	return r.polled(least)
}

// unpaced says which of the points can't be polled so often, or nil.
func (s *service) unpaced(points []reports.Point, every time.Duration) error {
	if every == 0 {
		return nil
	}
	for _, p := range points {
		f := s.filters[p.Path]
		if f == nil || s.schedule.points[p.Path] == nil {
			continue
		}
		if least := s.leastPoll(f.own); every < least {
			return reports.Errorf(reports.CodeOutOfRange, "%s is less than %s, the least that %s can be polled at", every, least, p.Path)
		}
	}
	return nil
}
