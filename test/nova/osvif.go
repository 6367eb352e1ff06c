package nova

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
)

//go:embed osvif.py
var osvif string

// OSVIF is the real os-vif of Debian's python3-os-vif, as the nova-compute of one host has it.
type OSVIF struct {
	mu      sync.Mutex
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// StartOSVIF starts os-vif where command runs its commands: on the host. settings are those of its
// section [os_vif_ovs]; without any it finds the host's database as it does by default.
func StartOSVIF(command func(name string, arg ...string) *exec.Cmd, settings map[string]any) (*OSVIF, error) {
	o := &OSVIF{process: command("/usr/bin/python3", "-c", osvif)}
	in, err := o.process.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := o.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	o.in, o.out = in, bufio.NewReader(out)
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("os-vif: %w", err)
	}
	if settings == nil {
		settings = map[string]any{}
	}
	if err := o.ask(settings); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// ask writes a line and reads the answer.
func (o *OSVIF) ask(request any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("os-vif: %w", err)
	}
	said, err := o.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("os-vif: %w", err)
	}
	var failure *string
	if err := json.Unmarshal(said, &failure); err != nil {
		return fmt.Errorf("os-vif: %w: %s", err, said)
	}
	if failure != nil {
		return fmt.Errorf("os-vif: %s", *failure)
	}
	return nil
}

// Plug plugs a VIF by what the port's binding says.
func (o *OSVIF) Plug(i *Instance, nic *NIC) error { return o.set(true, i, nic) }

// Unplug takes it off the bridge, and its device with it.
func (o *OSVIF) Unplug(i *Instance, nic *NIC) error { return o.set(false, i, nic) }

func (o *OSVIF) set(plug bool, i *Instance, nic *NIC) error {
	err := o.ask(map[string]any{
		"plug": plug, "instance": i.ID, "name": i.Name, "project": i.Project, "port": nic.Port, "mac": nic.MAC, "network": nic.Network,
		"ours": nic.Ours, "mtu": nic.MTU, "bridge": nic.Details.BridgeName, "filter": nic.Details.PortFilter, "datapath": nic.Details.DatapathType,
	})
	if err != nil {
		return fmt.Errorf("VIF of port %s: %w", nic.Port, err)
	}
	return nil
}

// Close ends the process.
func (o *OSVIF) Close() error {
	return errors.Join(o.in.Close(), o.process.Wait())
}
