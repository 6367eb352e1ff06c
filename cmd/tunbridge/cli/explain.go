package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Explain tells the story of an object, and what is wrong with it.
type Explain struct {
	Admin
	What  []string `arg:"" offer:"port,network,host,flow,dhcp,metadata,<port>,<network>,<host>" help:"What is asked about, after port, network, host, flow, dhcp or metadata where that is not clear: an ID or its beginning, a name, a device_id, a MAC or IP address, a cookie (0x…), HOST:OFPORT."`
	Bytes bool     `help:"Of dhcp and metadata: print the last request and answer, decoded and, of dhcp, as bytes, and what would be offered now."`
}

// Help is shown below the flags.
func (Explain) Help() string {
	return `The first line says what is wrong, if anything is. Then comes each step of the way from the API to the
switches, with its time: where the object should be, and where it is.

Examples:
  tunbridge explain web-1
  tunbridge explain port 10.0.0.5
  tunbridge explain host compute01
  tunbridge explain network blue
  tunbridge explain flow 0x0204a1b2c3d4e5f6
  tunbridge explain dhcp web-1 --bytes
  tunbridge explain metadata web-1

Exit status 1 if something is wrong.`
}

// Run prints the story.
func (c *Explain) Run() error {
	subject, what := "", c.What[0]
	switch {
	case len(c.What) == 2 && slices.Contains(inspect.Subjects, c.What[0]):
		subject, what = c.What[0], c.What[1]
	case len(c.What) > 1:
		return fmt.Errorf("explain %s: want one thing, or %s and one thing", strings.Join(c.What, " "), strings.Join(inspect.Subjects, "|"))
	}
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	e, err := client.Explain(ctx, subject, what)
	if err != nil {
		return err
	}
	err = c.print(&e, func(w io.Writer) error {
		if e.Wrong != "" {
			fmt.Fprintf(w, "%s\n%s\n", e.Wrong, e.Object)
		} else {
			fmt.Fprintf(w, "%s is in order\n", e.Object)
		}
		for _, s := range e.Steps {
			at, mark := "", "ok"
			if !s.At.IsZero() {
				at = s.At.Local().Format(stepTime)
			}
			if !s.OK {
				mark = "NO"
			}
			fmt.Fprintf(w, "  %-*s  %s  %s\n", len(stepTime), at, mark, s.Text)
		}
		if c.Bytes {
			c.bytes(w, &e)
		}
		return nil
	})
	if err == nil && e.Wrong != "" {
		err = found("%s: not in order", e.Object)
	}
	return err
}

// stepTime is how a step's time is printed.
const stepTime = time.DateTime + ".000"

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
