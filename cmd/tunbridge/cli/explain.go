package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Explain says what a service does for a port and why.
type Explain struct {
	Admin
	Service string `arg:"" help:"dhcp." enum:"dhcp"`
	Port    string `arg:"" help:"ID or name of a port."`
	Bytes   bool   `help:"Print the last request and answer, decoded and as bytes, and what would be offered now."`
}

// Run prints the steps from the port to its answer.
func (c *Explain) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	e, err := client.Explain(ctx, c.Service, c.Port)
	if err != nil {
		return err
	}
	return c.print(e, func(w io.Writer) error {
		fmt.Fprintf(w, "port %s %s\n", e.PortID, e.PortName)
		for _, s := range e.Steps {
			mark := "ok"
			if !s.OK {
				mark = "NO"
			}
			fmt.Fprintf(w, "  %s  %s\n", mark, s.Text)
		}
		if c.Bytes {
			c.bytes(w, &e)
		}
		return nil
	})
}

func (c *Explain) bytes(w io.Writer, e *inspect.Explanation) {
	message := func(title string, text []string, frame []byte) {
		fmt.Fprintf(w, "\n%s\n", title)
		for _, line := range text {
			fmt.Fprintf(w, "  %s\n", line)
		}
		if len(frame) > 0 {
			for line := range strings.Lines(hex.Dump(frame)) {
				fmt.Fprintf(w, "  %s", line)
			}
		}
	}
	for i := range e.Exchanges {
		x := &e.Exchanges[i]
		message(fmt.Sprintf("%s at %s, request %d of the port", x.Request, x.At.Format(time.DateTime), x.Requests), x.RequestText, x.RequestBytes)
		message(x.Decision+": "+x.Reason, x.AnswerText, x.AnswerBytes)
	}
	if len(e.Offer) > 0 {
		message("What a DHCPDISCOVER that asks for every option is offered now", e.Offer, nil)
	}
}
