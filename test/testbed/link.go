package testbed

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenLink opens a device of the namespace to send frames, and to receive those of an EtherType: each Write
// takes a whole Ethernet frame and each Read gives one (packet(7)), whatever the kernel does with them.
func (n Namespace) OpenLink(device string, etherType uint16) (*os.File, error) {
	var fd int
	if err := n.Do(func() (err error) {
		fd, err = packetSocket(device, etherType, unix.SOCK_NONBLOCK)
		return err
	}); err != nil {
		return nil, fmt.Errorf("link %s: %w", device, err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

// packetSocket opens a packet(7) socket of one device for the frames of an EtherType, or ETH_P_ALL. flags are
// further ones of socket(2).
func packetSocket(device string, etherType uint16, flags int) (int, error) {
	// Without a protocol it receives nothing before it is bound: no other device's frames.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return 0, err
	}
	if err := bindPacketSocket(fd, device, etherType); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func bindPacketSocket(fd int, device string, etherType uint16) error {
	ifi, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifi); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
		return err
	}
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType))
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: int(ifi.Uint32())})
}
