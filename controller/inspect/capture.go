package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// CaptureRequest asks for copies of frames: POST /v1/captures. What comes back is a stream of Frames, one JSON object
// after the other, until the time is over or the client leaves.
type CaptureRequest struct {
	What    string  `json:"what"`    // a port or a host, by anything that Find knows
	Seconds float64 `json:"seconds"` // at most 600
}

// The points at which a frame is copied.
const (
	PointFromVIF      = "from-vif"      // as the VIF sent it
	PointToVIF        = "to-vif"        // as the VIF is sent it, by others or by the switch in place of others
	PointToTunnel     = "to-tunnel"     // on br-tun, from br-int, tagged with the local VLAN
	PointFromTunnel   = "from-tunnel"   // on br-tun, as a tunnel brought it
	PointToPhysical   = "to-physical"   // on br-int, as it goes to the bridge of a physical network
	PointFromPhysical = "from-physical" // on br-int, as the bridge of a physical network brought it
	PointPunt         = "punt"          // the VIF's request as the controller got it
	PointAnswer       = "answer"        // what the controller sends to the VIF
)

// Frame is one frame at one point. The first of a stream has no bytes: it says that the taps stand.
type Frame struct {
	At      time.Time `json:"at"`
	Host    string    `json:"host,omitempty"`
	Point   string    `json:"point,omitempty"`
	Port    string    `json:"port,omitempty"`    // name, or MAC address if it has none
	PortID  string    `json:"port_id,omitempty"` // "" if it is not known whose the frame is
	Network string    `json:"network,omitempty"`
	Note    string    `json:"note,omitempty"` // of a tunnel: type, key and the other end; of a physical network: its name and the tag; of a punt: the operation
	Lost    uint64    `json:"lost,omitempty"` // frames since the last one that came too fast for the client
	Bytes   []byte    `json:"bytes,omitempty"`
}

// Capture calls each with the frames that are copied, until the time is over, ctx ends or each fails.
func (c *Client) Capture(ctx context.Context, request CaptureRequest, each func(*Frame) error) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/captures", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return stream(ctx, c, req, each)
}
