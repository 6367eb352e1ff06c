package model

import (
	"time"

	"github.com/google/uuid"
)

// MaxCapture is how long a capture may last.
const MaxCapture = 10 * time.Minute

// Capture wants copies of frames to go to the controller, until it expires (table kind: location).
type Capture struct {
	ID     uuid.UUID
	PortID uuid.UUID // frames of this port, wherever its VIF is; Nil: those of a host
	HostID string    // system-id: all frames of this host; "" with a PortID
	Until  time.Time // MaxCapture from its beginning at most
}
