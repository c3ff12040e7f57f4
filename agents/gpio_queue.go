package agents

import (
	"slices"

	"rollcall/reports"
)

// gpioEventsMost is how many readings wait for a runner that is late.
const gpioEventsMost = 256

// gpioEventsReady is how many of them the runner can take without waiting for the engine.
const gpioEventsReady = 64

// gpioQueue holds readings for a runner that is late. When too many wait, one goes that a later one of the same point supersedes:
// the last of a point is never lost. It is bounded by gpioEventsMost or, if there are more, the points.
type gpioQueue struct {
	readings []gpioQueued
	serial   uint64
	waiting  map[string]int // readings by path
	dropped  uint64
}

// gpioQueued is a reading in the queue.
type gpioQueued struct {
	reading reports.Reading
	serial  uint64
}

// put queues a reading.
func (q *gpioQueue) put(r reports.Reading) {
	if q.waiting == nil {
		q.waiting = map[string]int{}
	}
	q.waiting[r.Path]++
	q.serial++
	q.readings = append(q.readings, gpioQueued{r, q.serial})
	if len(q.readings) <= gpioEventsMost {
		return
	}
	// The oldest that is superseded: nearly always the first. Where each is the last of its point, there are no more than points.
	if i := slices.IndexFunc(q.readings, func(r gpioQueued) bool { return q.waiting[r.reading.Path] > 1 }); i >= 0 {
		q.remove(i)
		q.dropped++
	}
}

// remove takes a reading out; the first costs nothing.
func (q *gpioQueue) remove(i int) {
	if path := q.readings[i].reading.Path; q.waiting[path] > 1 {
		q.waiting[path]--
	} else {
		delete(q.waiting, path)
	}
	if i == 0 {
		q.readings[0] = gpioQueued{}
		q.readings = q.readings[1:]
		return
	}
	q.readings = slices.Delete(q.readings, i, i+1)
}

// head returns the channel to send the first reading on; nil while there is none.
func (q *gpioQueue) head(to chan reports.Reading) (chan<- reports.Reading, gpioQueued) {
	if len(q.readings) == 0 {
		return nil, gpioQueued{}
	}
	return to, q.readings[0]
}

// sent drops the reading that head returned, unless it was dropped in the meantime.
func (q *gpioQueue) sent(r gpioQueued) {
	if len(q.readings) > 0 && q.readings[0].serial == r.serial {
		q.remove(0)
	}
}

// keep drops the readings of all points but those for which ok returns true.
func (q *gpioQueue) keep(ok func(path string) bool) {
	for i := 0; i < len(q.readings); {
		if ok(q.readings[i].reading.Path) {
			i++
		} else {
			q.remove(i)
		}
	}
}
