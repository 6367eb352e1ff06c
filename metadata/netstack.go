package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// nic is the stack's only interface.
const nic tcpip.NICID = 1

// stackMTU is the largest IP packet that the stack sends or asks for. What it sends to one machine is no
// larger than the MTU of that machine's network: see segment.translate.
const stackMTU = 1500

// outQueue is how many packets of the stack may wait to be sent; one more is lost, as on any network.
const outQueue = 4096

// netstack is the TCP stack that terminates all connections: two listeners behind one interface. It
// knows machines by their synthetic addresses alone.
type netstack struct {
	stack     *stack.Stack
	link      *channel.Endpoint
	listeners []net.Listener
}

func newNetstack() (*netstack, error) {
	// Its own log is about single packets, which machines make, and would go to our standard error.
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
	n := &netstack{
		stack: stack.New(stack.Options{
			NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol,
				ipv6.NewProtocolWithOptions(ipv6.Options{DADConfigs: stack.DADConfigurations{DupAddrDetectTransmits: 0}})},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		}),
		link: channel.New(outQueue, stackMTU, ""), // no link address: no ARP, no neighbour discovery
	}
	// Packets come from a VIF beside the switch, where nothing garbles them, and may have unfinished
	// checksums; those that go get theirs with the address of the machine.
	n.link.LinkEPCapabilities = stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
	if err := n.configure(); err != nil {
		n.close()
		return nil, fmt.Errorf("metadata: TCP stack: %w", err)
	}
	return n, nil
}

func (n *netstack) configure() error {
	failed := func(err tcpip.Error) error {
		if err == nil {
			return nil
		}
		return errors.New(err.String())
	}
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return failed(err)
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})

	// A connection that is over, or whose machine has gone, is soon forgotten.
	timeWait, linger, retries := tcpip.TCPTimeWaitTimeoutOption(2*time.Second), tcpip.TCPLingerTimeoutOption(5*time.Second), tcpip.TCPMaxRetriesOption(7)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 64 << 10, Max: 256 << 10}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 64 << 10, Max: 256 << 10}
	for _, o := range []tcpip.SettableTransportProtocolOption{&timeWait, &linger, &retries, &send, &receive} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("%T: %w", o, failed(err))
		}
	}
	for _, a := range []netip.Addr{AddressIPv4, AddressIPv6} {
		version := ipv4.ProtocolNumber
		if a.Is6() {
			version = ipv6.ProtocolNumber
		}
		address := tcpip.AddrFromSlice(a.AsSlice())
		if err := n.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: version, AddressWithPrefix: address.WithPrefix()}, stack.AddressProperties{}); err != nil {
			return failed(err)
		}
		l, err := gonet.ListenTCP(n.stack, tcpip.FullAddress{NIC: nic, Addr: address, Port: httpPort}, version)
		if err != nil {
			return err
		}
		n.listeners = append(n.listeners, l)
	}
	return nil
}

// receive hands a segment to the stack, from a synthetic address.
func (n *netstack) receive(s *segment, synthetic netip.Addr, mtu int) {
	view := buffer.NewViewSize(len(s.packet))
	s.translate(view.AsSlice(), synthetic, mtu)
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
	defer packet.DecRef()
	version := ipv4.ProtocolNumber
	if synthetic.Is6() {
		version = ipv6.ProtocolNumber
	}
	n.link.InjectInbound(version, packet)
}

// send hands what the stack sends to out until ctx ends and nothing is left, in pieces that are valid during
// the call: complete TCP packets, with the synthetic address they go to. What is not TCP is nobody's.
func (n *netstack) send(ctx context.Context, out func(to netip.Addr, pieces [][]byte)) {
	for {
		packet := n.link.ReadContext(ctx)
		if packet == nil {
			packet = n.link.Read()
		}
		if packet == nil {
			return
		}
		if packet.TransportProtocolNumber == tcp.ProtocolNumber {
			destination := packet.Network().DestinationAddress()
			to, _ := netip.AddrFromSlice(destination.AsSlice())
			out(to, packet.AsSlices())
		}
		packet.DecRef()
	}
}

// hangUp ends all connections; what tells their other ends is sent still.
func (n *netstack) hangUp() {
	for _, l := range n.listeners {
		_ = l.Close()
	}
	n.stack.Close()
}

// close ends everything at once.
func (n *netstack) close() {
	n.hangUp()
	n.link.Close()
	n.stack.Wait()
}
