package openflow

import (
	"context"
	"errors"
	"fmt"
)

// The calls below read what the switch holds. Each entry is handed over as it
// arrives, however many there are, so that none of them costs memory but what the
// caller keeps. They are callbacks like those of Options: on the reading goroutine,
// to return at once. The entry they are given is reused for the next, though not
// what it refers to: a copy of it may be kept. An error from one of them ends the
// call with it. Several calls may be under way at the same time.

// DumpFlows reads the installed flows that request asks for.
func (c *Conn) DumpFlows(ctx context.Context, request FlowStatsRequest, each func(*FlowStats) error) error {
	return dump(ctx, c, "flows", request, MultipartFlowDesc, ParseFlowStats, each)
}

// DumpGroups reads all groups.
func (c *Conn) DumpGroups(ctx context.Context, each func(*GroupDesc) error) error {
	return dump(ctx, c, "groups", GroupDescRequest{GroupAll}, MultipartGroupDesc, ParseGroupDesc, each)
}

// DumpMeters reads all meters.
func (c *Conn) DumpMeters(ctx context.Context, each func(*MeterConfig) error) error {
	return dump(ctx, c, "meters", MeterConfigRequest{MeterAll}, MultipartMeterDesc, ParseMeterConfig, each)
}

// DumpMeterCounters reads what all meters counted.
func (c *Conn) DumpMeterCounters(ctx context.Context, each func(*MeterCounters) error) error {
	return dump(ctx, c, "meter counters", MeterStatsRequest{MeterAll}, MultipartMeterStats, ParseMeterCounters, each)
}

// DumpPorts reads all ports.
func (c *Conn) DumpPorts(ctx context.Context, each func(*Port) error) error {
	return dump(ctx, c, "ports", PortDescRequest{PortAny}, MultipartPortDesc, ParsePort, each)
}

// Desc reads what the switch says of itself.
func (c *Conn) Desc(ctx context.Context) (Desc, error) {
	var desc Desc
	whole := func(b []byte) (Desc, []byte, error) {
		d, err := ParseDesc(b)
		return d, nil, err
	}
	err := dump(ctx, c, "description", DescRequest{}, MultipartDesc, whole, func(d *Desc) error {
		desc = *d
		return nil
	})
	return desc, err
}

// Monitor begins, changes or ends the watching of flows. Changes go to
// Options.FlowUpdate from then on, and with MonitorInitial the flows there are go
// there before Monitor returns. A table that is not to be watched (one the switch
// learns in by itself) is left out by watching each other table under an id of its own.
func (c *Conn) Monitor(ctx context.Context, request FlowMonitorRequest) error {
	if c.o.FlowUpdate == nil {
		return errors.New("openflow: flow monitor: Options.FlowUpdate is not set")
	}
	return dump(ctx, c, "flow monitor", request, MultipartFlowMonitor, ParseFlowUpdate, func(u *FlowUpdate) error {
		c.o.FlowUpdate(u)
		return nil
	})
}

// dump sends a multipart request and hands over each entry of the replies.
func dump[T any](ctx context.Context, c *Conn, what string, request Message, typ MultipartType,
	parse func([]byte) (T, []byte, error), each func(*T) error) error {
	var entry T
	err := c.ask(ctx, request, TypeMultipartReply, func(f Frame) error {
		got, _, b, err := ParseMultipart(f)
		if err == nil && got != typ {
			err = fmt.Errorf("multipart reply of type %d, not %d", got, typ)
		}
		for err == nil && len(b) > 0 {
			if entry, b, err = parse(b); err == nil {
				err = each(&entry)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// multipartReply hands one on to the call it answers, or to the flow monitor's callback.
func (c *Conn) multipartReply(f Frame) error {
	typ, more, b, err := ParseMultipart(f)
	if err != nil {
		return err
	}
	if f.XID() != 0 || typ != MultipartFlowMonitor || c.o.FlowUpdate == nil {
		return c.answer(f, more)
	}
	for len(b) > 0 {
		var u FlowUpdate
		if u, b, err = ParseFlowUpdate(b); err != nil {
			c.trouble(err)
			break
		}
		c.o.FlowUpdate(&u)
	}
	return nil
}
