package openflow

import (
	"context"
	"fmt"
)

// Bundle has the switch carry out messages (flow and group mods, packet-outs; not
// meter mods, which Open vSwitch takes in no bundle) in their order, all of them or
// none, and between two packets.
//
// Open vSwitch commits what remains of a bundle after it refused one of its
// messages, so the bundle is closed first, which answers whether any was refused,
// and committed only if none was. The error is a *MessageError about the first
// message that was refused, when it was added or at the commit, or that could not be
// encoded, or an *Error about the bundle itself: nothing of it took effect. After any
// other error (ctx's, the connection's) that is not known: read back what is installed.
func (c *Conn) Bundle(ctx context.Context, messages ...Message) error {
	open := c.xids(len(messages) + 3)
	first := open + 1
	closing := first + uint32(len(messages))
	commit := closing + 1
	r := &request{first: open, last: commit, fence: closing, want: TypeBundleControl}
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	defer c.end(r)

	control := BundleControl{ID: c.bundle.Add(1), Flags: BundleAtomic | BundleOrdered}
	if err := c.fill(ctx, r, control, messages); err != nil {
		control.Command = BundleDiscard
		c.reply(c.xids(1), control)
		return fmt.Errorf("bundle of %d: %w", len(messages), r.tie(err, first, messages))
	}
	r.await(commit)
	control.Command = BundleCommit
	err := c.queue(commit, control)
	if err == nil {
		err = c.wait(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("commit bundle of %d: %w", len(messages), r.tie(err, first, messages))
	}
	return nil
}

// fill opens a bundle, adds messages and closes it.
func (c *Conn) fill(ctx context.Context, r *request, control BundleControl, messages []Message) error {
	control.Command = BundleOpen
	if err := c.queue(r.first, control); err != nil {
		return err
	}
	// One for all, since the queue encodes it at once.
	add := &BundleAdd{ID: control.ID, Flags: control.Flags}
	unsent, err := c.queueAll(ctx, r, messages, func(i int) (uint32, Message) {
		add.Message = messages[i]
		return r.first + 1 + uint32(i), add
	})
	if err != nil {
		return err
	}
	if unsent != nil {
		return unsent
	}
	control.Command = BundleClose
	if err := c.queue(r.fence, control); err != nil {
		return err
	}
	return c.wait(ctx, r)
}
