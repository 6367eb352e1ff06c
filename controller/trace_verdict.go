package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/eval"
	"github.com/tunbridge/tunbridge/metadata"
)

// steps tells all that happened, each flow with its cause.
func (t *tracing) steps(result *eval.Result) []inspect.TraceStep {
	type place struct {
		step  *eval.Step
		depth int
	}
	var (
		places []place
		of     = map[*eval.Host][]int{}
	)
	var walk func(s *eval.Step, depth int)
	walk = func(s *eval.Step, depth int) {
		of[s.Host] = append(of[s.Host], len(places))
		places = append(places, place{s, depth})
		for _, next := range s.Steps {
			walk(next, depth+1)
		}
	}
	walk(result.Start, 0)
	list := make([]inspect.TraceStep, len(places))
	for h, indexes := range of {
		t.explained(h, func(loop *host) {
			for _, i := range indexes {
				s := places[i].step
				list[i] = inspect.TraceStep{Depth: places[i].depth, Host: h.Name, Bridge: s.Bridge.String(), Text: t.text(s)}
				if s.Kind == eval.Looked && s.Flow != nil {
					f := loop.explain(t.snap, s.Bridge, s.Flow)
					list[i].Flow = &f
				}
			}
		})
	}
	return list
}

// explained runs f in a host's loop, which knows the causes of its flows; if that is gone, as it is.
func (t *tracing) explained(h *eval.Host, f func(*host)) {
	loop := t.loops[h]
	if loop.ask(t.ctx, func() { f(loop) }) != nil {
		select {
		case <-loop.done: // nobody else uses it any more
			f(loop)
		default: // the time is up, which the caller tells
		}
	}
}

// text tells a step in words.
func (t *tracing) text(s *eval.Step) string {
	switch s.Kind {
	case eval.Entered:
		return "comes in by " + t.portOf(s.Port)
	case eval.Looked:
		if s.Flow == nil {
			return fmt.Sprintf("no flow of table %d matches", s.Table)
		}
	case eval.Ended:
		if s.End.Kind == eval.Delivered || s.End.Kind == eval.Answered {
			return fmt.Sprintf("%s: %s", t.portOf(s.End.Port), s.End.Why)
		}
		return s.End.Why
	}
	return s.Text
}

// portOf names a port of a bridge and whose it is.
func (t *tracing) portOf(p eval.Port) string {
	name := cmp.Or(p.Name, fmt.Sprint("port ", p.Number))
	if of := t.apiPort(p); of != nil {
		return fmt.Sprintf("%s of %s", name, portName(of))
	}
	return name
}

// apiPort is the API's port that a VIF is; nil if it is none.
func (t *tracing) apiPort(p eval.Port) *model.Port {
	id, err := uuid.Parse(p.VIF)
	if err != nil {
		return nil
	}
	of, _ := t.snap.Port(id)
	return of
}

// arrivals are the VIFs that a copy comes to, sorted by host and interface.
func (t *tracing) arrivals(result *eval.Result) []inspect.Arrival {
	list := []inspect.Arrival{}
	for _, e := range result.Ends {
		if e.Kind != eval.Delivered {
			continue
		}
		a := inspect.Arrival{Host: e.Host.Name, Interface: cmp.Or(e.Port.Name, fmt.Sprint(e.Port.Number)), PortID: e.Port.VIF}
		if p := t.apiPort(e.Port); p != nil {
			a.PortName = p.Name
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b inspect.Arrival) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Interface, b.Interface))
	})
	return list
}

// What a verdict begins with if the packet does not arrive, or not as far as can be told.
const (
	no     = "does not arrive: "
	untold = "whether it arrives cannot be told: "
)

// judge says whether the packet arrives, and the reason or the place. Of a request for the MAC address of
// nobody, asked says who that is.
func (t *tracing) judge(result *eval.Result, asked string) (arrives bool, verdict string) {
	if size, most := t.query.Size, t.network.MTU; size > most && most > 0 {
		return false, fmt.Sprintf(no+"the mtu of network %s is %d, and the packet has %d bytes", networkCalled(t.network), most, size)
	}
	to := t.to.port
	var delivered []string
	for _, e := range result.Ends {
		switch at := fmt.Sprintf("%s on host %s", t.portOf(e.Port), e.Host.Name); {
		case e.Kind == eval.Answered:
			return true, fmt.Sprintf("is answered by the switch of host %s", e.Host.Name)
		case e.Kind != eval.Delivered:
		case to != nil && e.Port.VIF == to.ID.String() && e.Port.Down:
			return false, fmt.Sprintf(no+"nobody listens at %s: the device has no carrier", at)
		case to != nil && e.Port.VIF == to.ID.String():
			return true, "arrives at " + at
		default:
			delivered = append(delivered, at)
		}
	}
	if asked == "" && to == nil || to != nil && to.DeviceOwner == model.OwnerDHCP {
		for _, e := range result.Ends {
			op := flows.Op(e.Packet.Get(flows.RegOp.Field).Uint())
			if e.Kind == eval.Punted && op != 0 && op != flows.OpAnnounced { // of others it is shown a copy
				return t.controllerAnswers(e.Host, op)
			}
		}
	}
	if to == nil {
		for _, e := range result.Ends {
			if e.Kind == eval.Left {
				return true, strings.TrimPrefix(fmt.Sprintf("%s: %s; who has %s there is not known here", asked, e.Why, t.to.text), ": ")
			}
		}
		if asked == "" && len(delivered) > 0 {
			return true, "arrives at " + several(delivered)
		}
	}
	if to != nil && to.NetworkID != t.source.NetworkID {
		n, _ := t.snap.Network(to.NetworkID)
		return false, fmt.Sprintf(no+"the networks %s and %s are two, and no router is between them", networkCalled(t.network), networkCalled(n))
	}
	if asked != "" && len(delivered) > 0 {
		return false, fmt.Sprintf(no+"%s; who has it is asked of %s", asked, several(delivered))
	}
	verdict = t.cause(result, delivered)
	if asked != "" {
		verdict = fmt.Sprintf(no+"%s; the request for it %s", asked, verdict)
	}
	return false, verdict
}

// several names the first of what may be very many.
func several(list []string) string {
	if len(list) <= mostListed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(list[:mostListed], ", "), len(list)-mostListed)
}

// controllerAnswers says what the controller makes of the source's request. That it comes there is not all: it may
// have nothing to give.
func (t *tracing) controllerAnswers(at *eval.Host, op flows.Op) (arrives bool, verdict string) {
	loop := t.loops[at]
	table := loop.punts.Load()
	where := fmt.Sprintf("arrives at the controller, from host %s: it answers (%s", at.Name, op)
	if table == nil || table.byPort[t.source.ID].port == nil {
		return true, where + ")"
	}
	from := table.byPort[t.source.ID]
	switch server := t.c.o.Handlers[op].(type) {
	case *dhcp.Server:
		if op != flows.OpDHCPv4 {
			break
		}
		l, err := server.Lease(from.network, from.port)
		if err != nil {
			return false, fmt.Sprintf("arrives at the controller, from host %s, which gives nothing by DHCPv4: %s", at.Name, err)
		}
		where += ": " + l.Address.String()
	case *metadata.Server:
		text, ok := server.Serves(table.view, from.network, from.port)
		if !ok {
			return false, fmt.Sprintf("arrives at the controller, from host %s, which has no metadata for it: %s", at.Name, text)
		}
	}
	return true, where + ")"
}

// cause says why the packet does not arrive: what the source's port security has against it, else what
// cannot be told, else what is wrong with the destination, else what stopped it on the way.
func (t *tracing) cause(result *eval.Result, delivered []string) string {
	var unknown, lost, dropped *eval.End
	for _, e := range result.Ends {
		switch {
		case e.Kind == eval.Unknown && unknown == nil:
			unknown = e
		case e.Kind == eval.Lost && lost == nil:
			lost = e
		case e.Kind != eval.Dropped:
		case insecure(e):
			return fmt.Sprintf(no+"port security of %s: %s", cmp.Or(inspect.Called(t.source.Name), t.source.ID.String()), t.dropped(e))
		case dropped == nil || t.to.port != nil && e.Host.Name == t.snap.Holder(t.to.port):
			dropped = e
		}
	}
	if unknown != nil {
		return untold + unknown.Why
	}
	if p := t.to.port; p != nil {
		switch at, err := t.plugged(p); {
		case p.DeviceOwner == model.OwnerDHCP:
			return no + "this is the port from which DHCP is answered, on every host: it has no VIF, and answers nothing else"
		case err != nil:
			return untold + err.Error()
		case at.reason != "":
			return no + at.reason
		}
	}
	switch {
	case lost != nil:
		return no + lost.Why
	case len(delivered) > 0:
		return no + "it comes to " + several(delivered)
	case dropped != nil:
		return no + t.dropped(dropped)
	}
	return no + "it leaves, and comes to no host that has it"
}

// insecure says whether a packet was dropped because its source may not send it.
func insecure(e *eval.End) bool {
	return e.Bridge == flows.BrInt && e.Last != nil && e.Last.Table >= flows.PortSecMAC.Number && e.Last.Table <= flows.PortSecLLA.Number
}

// dropped says why a packet ended where it did, by which flow, and whose that is.
func (t *tracing) dropped(e *eval.End) string {
	if e.Last == nil || e.Last.Flow == nil {
		return fmt.Sprintf("%s (dropped on host %s, %s)", e.Why, e.Host.Name, e.Bridge)
	}
	var f inspect.Flow
	t.explained(e.Host, func(h *host) { f = h.explain(t.snap, e.Bridge, e.Last.Flow) })
	whose := f.Owner
	if f.Kind != "" {
		whose = fmt.Sprintf("%s, %s %s", f.Owner, f.Kind, cmp.Or(inspect.Called(f.ObjectName), f.ObjectID))
	}
	return fmt.Sprintf("%s (dropped on host %s, %s table %d %s, by a flow of %s)", f.Reason, e.Host.Name, e.Bridge, f.Table, f.TableName, whose)
}
