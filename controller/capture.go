package controller

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// captureQueue is how many frames of a capture may wait for its client.
const captureQueue = 4096

// captures are those whose client is here. The rows in the store are what hosts go by; what is here is only
// where the copies go.
type captures struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*recording] // nil: none
}

// recording is one client's.
type recording struct {
	row    *model.Capture
	frames chan inspect.Frame
	lost   atomic.Uint64
}

func (c *captures) add(one *recording) {
	c.change(func(list []*recording) []*recording { return append(list, one) })
}

func (c *captures) remove(one *recording) {
	c.change(func(list []*recording) []*recording {
		return slices.DeleteFunc(list, func(x *recording) bool { return x == one })
	})
}

func (c *captures) change(f func([]*recording) []*recording) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*recording
	if old := c.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = f(list); len(list) == 0 {
		c.list.Store(nil)
	} else {
		c.list.Store(&list)
	}
}

// offer gives a frame to those who want it; it never waits. port is Nil where it is not known whose the frame
// is, and network that of broadcast from other hosts.
func (c *captures) offer(h *host, port, network uuid.UUID, f *inspect.Frame, bytes []byte) {
	list := c.list.Load()
	if list == nil {
		return
	}
	copied := false
	for _, one := range *list {
		switch {
		case one.row.HostID == h.id:
		case one.row.PortID == uuid.Nil:
			continue
		case one.row.PortID == port:
		case network != uuid.Nil && one.here(h, network):
		default:
			continue
		}
		if !copied {
			f.Bytes, copied = slices.Clone(bytes), true
		}
		send := *f
		send.Lost = one.lost.Swap(0)
		select {
		case one.frames <- send:
		default:
			one.lost.Add(1 + send.Lost)
		}
	}
}

// here says whether the captured port's VIF is on the host, in the network.
func (one *recording) here(h *host, network uuid.UUID) bool {
	table := h.punts.Load()
	if table == nil {
		return false
	}
	p, ok := table.byPort[one.row.PortID]
	return ok && p.network.ID == network
}

// take takes a copy from the connection's reader.
func (c *captures) take(h *host, p *openflow.PacketIn) {
	if c.list.Load() == nil {
		return // of a capture whose client is gone, or another controller's
	}
	point, key, generation, err := flows.ParseCaptured(p.UserData)
	table := h.punts.Load()
	if err != nil || table == nil {
		return
	}
	f := inspect.Frame{At: time.Now(), Host: table.view.Host.Hostname}
	var port, network uuid.UUID
	if point == flows.FromTunnelMany || point == flows.FromPhysicalMany {
		for _, n := range table.view.Networks {
			if uint32(n.LocalVLAN) == key {
				network, f.Network = n.ID, n.Name
			}
		}
	} else if from, ok := table.byKey[key]; ok && from.port.Generation == generation {
		port = from.port.ID
		f.Port, f.PortID, f.Network = cmp.Or(from.port.Name, from.port.MACAddress.String()), port.String(), from.network.Name
	}
	switch point {
	case flows.FromVIF:
		f.Point = inspect.PointFromVIF
	case flows.ToVIF:
		f.Point = inspect.PointToVIF
	case flows.Answered:
		f.Point, f.Note = inspect.PointToVIF, "answered by the switch"
	case flows.ToTunnel:
		f.Point = inspect.PointToTunnel
	case flows.ToPhysical:
		out, _ := p.Uint(flows.RegOut.Field)
		f.Point, f.Note = inspect.PointToPhysical, physicalNote(table.view, uint32(out), p.Packet)
	case flows.FromPhysical, flows.FromPhysicalMany:
		in, _ := p.Uint(openflow.InPort)
		f.Point, f.Note = inspect.PointFromPhysical, physicalNote(table.view, uint32(in), p.Packet)
	default:
		f.Point, f.Note = inspect.PointFromTunnel, tunnelNote(table.view, p)
	}
	c.offer(h, port, network, &f, p.Packet)
}

// tunnelNote says which tunnel a frame came through: "vxlan 5001 from compute02 (172.31.0.2)".
func tunnelNote(v *flows.View, p *openflow.PacketIn) string {
	in, _ := p.Uint(openflow.InPort)
	key, _ := p.Uint(openflow.TunID)
	networkType := "tunnel"
	for name := range flows.Arrivals {
		if uint64(v.Ports.Tunnel(name)) == uint64(in) && in != 0 {
			networkType = name
		}
	}
	note := fmt.Sprintf("%s %d", networkType, key)
	for _, field := range []openflow.Field{openflow.TunSrc, openflow.TunIPv6Src} {
		src, ok := p.Match().Get(field)
		if !ok || src.Value == (openflow.Uint128{}) {
			continue
		}
		who := "no enrolled host"
		for _, h := range v.Peers {
			if h.EncapIP == src.Addr() {
				who = h.Hostname
			}
		}
		note += fmt.Sprintf(" from %s (%s)", who, src.Addr())
	}
	return note
}

// physicalNote says which physical network's bridge a port of br-int leads to, how the frame is tagged, and whose
// tag that is: "physnet1 VLAN 101, network red".
func physicalNote(v *flows.View, port uint32, frame []byte) string {
	vid, tagged := uint32(0), len(frame) >= 16 && binary.BigEndian.Uint16(frame[12:]) == openflow.EthTypeVLAN
	if tagged {
		vid = uint32(binary.BigEndian.Uint16(frame[14:]) & 0xfff)
	}
	physical, network := "physical network", "no network here"
	for _, n := range v.Networks {
		if n.Uplink == port {
			physical = n.Segment.PhysicalNetwork
			if tagged == (n.Segment.NetworkType == model.TypeVLAN) && vid == n.Segment.SegmentationID {
				network = "network " + networkCalled(n.Network)
			}
		}
	}
	if tagged {
		return fmt.Sprintf("%s VLAN %d, %s", physical, vid, network)
	}
	return fmt.Sprintf("%s untagged, %s", physical, network)
}

// spoken copies what a VIF and the controller say to each other.
func (c *captures) spoken(h *host, from *puntPort, point string, op flows.Op, frame []byte) {
	if c.list.Load() == nil {
		return
	}
	f := inspect.Frame{At: time.Now(), Point: point, Port: cmp.Or(from.port.Name, from.port.MACAddress.String()), PortID: from.port.ID.String(), Network: from.network.Name, Note: op.String()}
	if table := h.punts.Load(); table != nil {
		f.Host = table.view.Host.Hostname
	}
	c.offer(h, from.port.ID, uuid.Nil, &f, frame)
}

// serveCapture makes a capture's row and streams its frames; the row goes with the client.
func (c *Controller) serveCapture(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, err error) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(inspect.Error{Error: err.Error()})
	}
	var request inspect.CaptureRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&request); err != nil {
		refuse(http.StatusBadRequest, fmt.Errorf("capture: %w", err))
		return
	}
	last := time.Duration(request.Seconds * float64(time.Second))
	if last <= 0 || last > model.MaxCapture {
		refuse(http.StatusBadRequest, fmt.Errorf("a capture lasts more than nothing and %s at most", model.MaxCapture))
		return
	}
	row, err := c.captureOf(r.Context(), request.What)
	if err != nil {
		refuse(http.StatusNotFound, err)
		return
	}
	row.ID, row.Until = uuid.New(), time.Now().Add(last).UTC()
	one := &recording{row: row, frames: make(chan inspect.Frame, captureQueue)}
	c.captures.add(one)
	defer c.captures.remove(one)
	if _, err := c.o.Store.Update(r.Context(), func(tx *store.Tx) error { return tx.PutCapture(row) }); err != nil {
		refuse(http.StatusServiceUnavailable, fmt.Errorf("capture: %w", err))
		return
	}
	defer c.endCapture(row.ID)
	c.stream(w, r, one)
}

// stream sends frames until the capture's end.
func (c *Controller) stream(w http.ResponseWriter, r *http.Request, one *recording) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	to := json.NewEncoder(w)
	end := time.NewTimer(time.Until(one.row.Until))
	defer end.Stop()
	if to.Encode(inspect.Frame{At: time.Now()}) != nil || control.Flush() != nil {
		return
	}
	for {
		select {
		case f := <-one.frames:
			if to.Encode(f) != nil {
				return
			}
			if len(one.frames) == 0 && control.Flush() != nil {
				return
			}
		case <-end.C:
			return
		case <-c.stopped:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// captureOf is a row for the port or host that is meant.
func (c *Controller) captureOf(ctx context.Context, what string) (*model.Capture, error) {
	objects, err := c.lookup(ctx, c.o.Store.Snapshot(), what)
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o inspect.Object) bool { return o.Kind != inspect.KindPort && o.Kind != inspect.KindHost })
	if len(objects) != 1 {
		return nil, fmt.Errorf("%q means %d ports and hosts: give the ID of one", what, len(objects))
	}
	if objects[0].Kind == inspect.KindHost {
		return &model.Capture{HostID: objects[0].ID}, nil
	}
	id, err := uuid.Parse(objects[0].ID)
	return &model.Capture{PortID: id}, err
}

// endCapture removes a capture's row.
func (c *Controller) endCapture(id uuid.UUID) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := c.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteCapture(id); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		c.o.Logger.Warn("capture not ended: it ends by itself", "capture", id, "error", err)
	}
}

// expireCaptures removes rows whose time is over, whoever made them, and says when the next one's is; zero for
// none.
func (c *Controller) expireCaptures(snap *store.Snapshot) (next time.Time) {
	now := time.Now()
	for row := range snap.Captures() {
		if !row.Until.After(now) {
			c.endCapture(row.ID)
		} else if next.IsZero() || row.Until.Before(next) {
			next = row.Until
		}
	}
	return next
}

// capturesOn are the captures that concern a host, of those that have not expired.
func capturesOn(snap *store.Snapshot, v *flows.View, now time.Time) (list []flows.Capture) {
	for row := range snap.Captures() {
		if !row.Until.After(now) {
			continue
		}
		if row.HostID == v.Host.ID {
			list = append(list, flows.Capture{ID: row.ID, Until: row.Until})
			continue
		}
		for _, n := range v.Networks {
			for _, p := range n.Local {
				if p.ID == row.PortID {
					list = append(list, flows.Capture{ID: row.ID, Until: row.Until, Port: p, Network: n})
				}
			}
		}
	}
	return list
}
