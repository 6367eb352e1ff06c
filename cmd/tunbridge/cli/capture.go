package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Capture copies frames of a port or a host into a file or to the terminal.
type Capture struct {
	Admin
	What  string        `arg:"" offer:"<port>,<host>" help:"A port (ID, name, address, HOST:OFPORT …) or a host."`
	Write string        `short:"w" help:"Write pcapng to this file; - is the standard output. Default: a line for each frame." placeholder:"FILE"`
	For   time.Duration `help:"End after this time, 10m at most." default:"60s"`
	Count int           `short:"c" help:"End after so many frames; 0 is any number." placeholder:"N"`
}

// Help is shown below the flags.
func (Capture) Help() string {
	return `Each frame is copied at every point that it passes: as the VIF sends it (from-vif) or is sent it (to-vif, also what the switch answers in place of others), on br-tun before a tunnel (to-tunnel, tagged with the local VLAN) or behind one (from-tunnel), on br-int before the bridge of a physical network (to-physical, tagged as it goes there) or behind it (from-physical), and where the controller is asked (punt) and answers (answer). Each point of each port is an interface of the pcapng file, named HOST/PORT/POINT; which tunnel, physical network or operation it was is the frame's comment.

The copies are metered, 2000 a second on a bridge. The switch removes what makes them when the time is over, whoever is left to tell it.

Examples:
  tunbridge capture web-1 -w web-1.pcapng --for 3s
  tunbridge capture compute01 --for 3s -c 100
  tunbridge capture web-1 --for 3s -w - | tcpdump -nr -`
}

// errEnough ends a capture that has its count.
var errEnough = errors.New("enough")

// Run captures until the time is over, the count is reached or Ctrl-C.
func (c *Capture) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	out := c.stdout()
	if c.Write != "" && c.Write != "-" {
		f, err := os.Create(c.Write)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	var each func(*inspect.Frame) error
	flush := func() error { return nil }
	switch {
	case c.JSON:
		to := json.NewEncoder(out)
		each = func(f *inspect.Frame) error { return to.Encode(f) }
	case c.Write != "":
		w, err := newCaptureFile(out, c.What)
		if err != nil {
			return err
		}
		each, flush = w.frame, w.w.Flush
	default:
		lines := &fit{w: out}
		each = func(f *inspect.Frame) error {
			cleanAll(reflect.ValueOf(f), "")
			return frameLine(lines, f)
		}
	}
	n, lost, err := c.record(ctx, client, each, flush)
	if err = errors.Join(err, flush()); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d frames", n)
	if lost > 0 {
		fmt.Fprintf(os.Stderr, ", %d more came too fast", lost)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// record has each frame written, and flushed as often as a reader of the file may look.
func (c *Capture) record(ctx context.Context, client *inspect.Client, each func(*inspect.Frame) error, flush func() error) (n int, lost uint64, err error) {
	err = client.Capture(ctx, inspect.CaptureRequest{What: c.What, Seconds: c.For.Seconds()}, func(f *inspect.Frame) error {
		lost += f.Lost
		if f.Point == "" { // the taps are wanted
			fmt.Fprintf(os.Stderr, "capturing %s for %s\n", c.What, c.For)
			return flush()
		}
		if err := errors.Join(each(f), flush()); err != nil {
			return err
		}
		if n++; n == c.Count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n, lost, err
}

// captureFile is a pcapng file with an interface for each point at which frames are seen.
type captureFile struct {
	w          *pcapgo.NgWriter
	interfaces map[string]int
}

// newCaptureFile begins a file. The format wants an interface at once: it is named for the controller.
func newCaptureFile(w io.Writer, what string) (*captureFile, error) {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "tunbridge", Comment: "capture of " + what}}
	ng, err := pcapgo.NewNgWriterInterface(w, pcapgo.NgInterface{Name: "tunbridge", Description: "no frames", LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}, options)
	if err != nil {
		return nil, err
	}
	return &captureFile{ng, map[string]int{}}, nil
}

// frame writes one frame.
func (f *captureFile) frame(x *inspect.Frame) error {
	cleanAll(reflect.ValueOf(x), "")
	name := pointName(x)
	i, known := f.interfaces[name]
	if !known {
		var err error
		description := x.Point + " on host " + x.Host
		if x.PortID != "" {
			description += ", port " + x.PortID + " of network " + x.Network
		}
		i, err = f.w.AddInterface(pcapgo.NgInterface{Name: name, Description: description, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9})
		if err != nil {
			return err
		}
		f.interfaces[name] = i
	}
	var options pcapgo.NgPacketOptions
	if x.Note != "" {
		options.Comments = []string{x.Note}
	}
	if x.Lost > 0 {
		options.DropCount = &x.Lost
	}
	return f.w.WritePacketWithOptions(gopacket.CaptureInfo{Timestamp: x.At, CaptureLength: len(x.Bytes), Length: len(x.Bytes), InterfaceIndex: i}, x.Bytes, options)
}

// pointName is HOST/PORT/POINT; HOST/POINT where it is not known whose the frame is.
func pointName(x *inspect.Frame) string {
	if x.Port == "" {
		return x.Host + "/" + x.Point
	}
	return x.Host + "/" + x.Port + "/" + x.Point
}

// frameLine prints a frame in a line: when, where, from, to, what.
func frameLine(w io.Writer, x *inspect.Frame) error {
	packet := gopacket.NewPacket(x.Bytes, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	var kinds []string
	for _, l := range packet.Layers() {
		if t := l.LayerType(); t != gopacket.LayerTypePayload && t != layers.LayerTypeEthernet {
			kinds = append(kinds, t.String())
		}
	}
	ends := ""
	if l := packet.LinkLayer(); l != nil {
		ends = l.LinkFlow().String()
	}
	if l := packet.NetworkLayer(); l != nil {
		ends = l.NetworkFlow().String()
	}
	line := fmt.Sprintf("%s %-28s %s %s %d bytes", x.At.Format("15:04:05.000000"), clip(pointName(x), columns/2), ends, strings.Join(kinds, " "), len(x.Bytes))
	if x.Note != "" {
		line += " (" + x.Note + ")"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
