package main

import (
	"log/slog"
	"net"
	"os"
)

// notify tells systemd how the service is: READY=1 when it serves, STOPPING=1 when it begins to end
// (sd_notify(3)). Whoever else started the program is told nothing.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.Dial("unixgram", name) // a name that begins with @ is abstract, as systemd's may be
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("systemd is not told", "state", state, "error", err)
	}
}
