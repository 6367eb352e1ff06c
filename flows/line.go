package flows

import "github.com/tunbridge/tunbridge/flows/openflow"

// Line is a flow that does not depend on the view: every host has it.
type Line struct {
	Table    *Table
	Priority uint16
	Match    openflow.Match
	Do       openflow.Instructions
	Reason   string
}

// Lines wants each of lines.
func (e *Emitter) Lines(lines []Line) {
	for i := range lines {
		l := &lines[i]
		e.Flow(l.Table, l.Priority, l.Match, l.Do, l.Reason)
	}
}
