package agents

// ainRange returns the least and the greatest value of a table.
func ainRange(table []ainRow) (lo, hi float64) {
	lo, hi = table[0].Is, table[0].Is
	for _, r := range table {
		lo, hi = min(lo, r.Is), max(hi, r.Is)
	}
	return lo, hi
}

// ainInterpolate returns what a table of two rows or more, which rise, says of v: on the straight line between the rows about it,
// and beyond the ends on the line of the outermost two, or if clamped the end itself.
func ainInterpolate(table []ainRow, v float64, clamp bool) float64 {
	last := len(table) - 1
	switch {
	case clamp && v <= table[0].At:
		return table[0].Is
	case clamp && v >= table[last].At:
		return table[last].Is
	}
	i := 1
	for i < last && v > table[i].At {
		i++
	}
	a, b := table[i-1], table[i]
	if v == b.At {
		return b.Is // to the letter
	}
	return a.Is + (v-a.At)/(b.At-a.At)*(b.Is-a.Is)
}
