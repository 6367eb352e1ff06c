package flows

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Capture wants copies of frames on a host for a while.
type Capture struct {
	ID      uuid.UUID
	Until   time.Time
	Port    *LocalPort // nil: all ports of the host, and all that its tunnels and physical networks carry
	Network *Network   // of Port
}

// CapturePoint is where a frame was copied.
type CapturePoint uint8

const (
	FromVIF          CapturePoint = 1 // as the VIF sent it, before anything is looked at
	ToVIF            CapturePoint = 2 // as the VIF is sent it
	ToTunnel         CapturePoint = 3 // from br-int, tagged with the local VLAN, before it is known where to
	FromTunnel       CapturePoint = 4 // as a tunnel brought it, before it is known whether it is accepted
	FromTunnelMany   CapturePoint = 5 // as FromTunnel, broadcast or multicast of a network
	ToPhysical       CapturePoint = 6 // to the bridge of a physical network, tagged as it goes there
	FromPhysical     CapturePoint = 7 // as a physical network brought it, before it is known whose it is
	FromPhysicalMany CapturePoint = 8 // as FromPhysical, broadcast or multicast of a network
	Answered         CapturePoint = 9 // to the VIF, by the switch in place of others: ARP and neighbour discovery
)

// A capturing flow's userdata is the CapturePoint and 8 bytes as of a punt, which is 8 bytes long: key and
// generation of the VIF; of FromTunnelMany and FromPhysicalMany the local VLAN and 0. If the frame is of a
// captured host it is zeros, and of ToPhysical and FromPhysical br-int's port and 0.
const captureLen = 1 + userdataLen

// AppendCaptured appends the userdata of a copied frame.
func AppendCaptured(b []byte, p CapturePoint, key, generation uint32) []byte {
	return AppendUserdata(append(b, byte(p)), key, generation)
}

// IsCaptured says whether userdata is of a copied frame.
func IsCaptured(b []byte) bool { return len(b) == captureLen }

// ParseCaptured reads what AppendCaptured wrote.
func ParseCaptured(b []byte) (p CapturePoint, key, generation uint32, err error) {
	if !IsCaptured(b) || b[0] < byte(FromVIF) || b[0] > byte(Answered) {
		return 0, 0, 0, fmt.Errorf("userdata of a copied frame: %d bytes, or no point of a capture", len(b))
	}
	return CapturePoint(b[0]), binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:]), nil
}
