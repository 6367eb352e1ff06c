package metadata

import (
	"net/netip"
	"testing"
	"time"
)

// A synthetic address stands for one port and source, and for nobody else for as long as it is remembered.
func TestClients(t *testing.T) {
	c, at, start := newClients(), &presence{}, time.Unix(1000, 0)
	heard := func(port byte, address string, now time.Time) *client {
		t.Helper()
		got, err := c.heard(clientKey{id(0xa0, port), addr(address)}, at, false, now)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	seen := map[netip.Addr]*client{}
	for port := range byte(3) {
		for _, address := range []string{"10.0.0.5", "10.0.0.6", "fe80::5"} {
			one := heard(port, address, start)
			if again := heard(port, address, start); again != one {
				t.Errorf("port %d, %s: another client the second time", port, address)
			}
			a := one.synthetic()
			if seen[a] != nil || a.Is4() != one.address.Is4() || c.at(a) != one {
				t.Errorf("port %d, %s: is %s, like %v", port, address, a, seen[a])
			}
			seen[a] = one
		}
	}
	for _, nobody := range []string{"10.0.0.0", "10.255.255.255", "fd00::ffff", "192.0.2.1"} {
		if got := c.at(addr(nobody)); got != nil {
			t.Errorf("%s is %+v", nobody, got)
		}
	}

	// Who has a connection, or was heard since, is remembered.
	open := heard(0, "10.0.0.5", start)
	if _, ok := c.connect(open.synthetic()); !ok {
		t.Fatal("no connection")
	}
	late := heard(1, "10.0.0.5", start.Add(time.Minute))
	c.forget(start)
	if len(c.byKey) != 2 || c.at(open.synthetic()) != open || c.at(late.synthetic()) != late || len(c.byNumber) != 2 || len(c.ports) != 2 {
		t.Errorf("%d clients of %d ports are remembered", len(c.byKey), len(c.ports))
	}
	if again := heard(2, "10.0.0.5", start); seen[again.synthetic()] != nil {
		t.Error("a number was given again at once")
	}
	c.disconnect(open)
	c.forget(start.Add(time.Hour))
	if len(c.byKey)+len(c.byNumber)+len(c.ports) != 0 {
		t.Errorf("not forgotten: %+v", c)
	}
	// The numbers go round.
	c.last = maxNumber - 1
	if a, b := heard(0, "10.0.0.5", start).synthetic(), heard(0, "10.0.0.6", start).synthetic(); a != addr("10.255.255.255") || b != addr("10.0.0.1") {
		t.Errorf("%s, then %s", a, b)
	}
}

func TestClientLimits(t *testing.T) {
	c, now := newClients(), time.Unix(1000, 0)
	source := addr("10.0.0.1")
	var last *client
	for range maxAddresses {
		var err error
		if last, err = c.heard(clientKey{id(0xa0, 1), source}, &presence{}, false, now); err != nil {
			t.Fatal(err)
		}
		source = source.Next()
	}
	if _, err := c.heard(clientKey{id(0xa0, 1), source}, &presence{}, false, now); err != TooManyAddresses {
		t.Errorf("one address more: %v", err)
	}
	if _, err := c.heard(clientKey{id(0xa0, 2), source}, &presence{}, false, now); err != nil {
		t.Errorf("another port: %v", err)
	}
	for range maxConnections {
		if _, ok := c.connect(last.synthetic()); !ok {
			t.Fatal("too few connections")
		}
	}
	if _, ok := c.connect(last.synthetic()); ok {
		t.Error("one connection more")
	}
	c.disconnect(last)
	if _, ok := c.connect(last.synthetic()); !ok {
		t.Error("one that ended makes no room")
	}
	if _, ok := c.connect(addr("10.9.9.9")); ok {
		t.Error("a connection of nobody")
	}
}

// A port that begins connections and does not complete them is held back, and nobody else.
func TestHandshakes(t *testing.T) {
	c, now := newClients(), time.Unix(1000, 0)
	begin := func(port byte) error {
		_, err := c.heard(clientKey{id(0xa0, port), addr("10.0.0.5")}, &presence{}, true, now)
		return err
	}
	for i := range maxHandshakes {
		if err := begin(1); err != nil {
			t.Fatalf("handshake %d: %v", i, err)
		}
	}
	if err := begin(1); err != TooManyHandshakes {
		t.Errorf("one handshake more: %v", err)
	}
	if err := begin(2); err != nil {
		t.Errorf("another port's: %v", err)
	}
	if _, err := c.heard(clientKey{id(0xa0, 1), addr("10.0.0.5")}, &presence{}, false, now); err != nil {
		t.Errorf("a connection that there is: %v", err)
	}
	if _, ok := c.connect(c.byKey[clientKey{id(0xa0, 1), addr("10.0.0.5")}].synthetic()); !ok || begin(1) != nil || begin(1) != TooManyHandshakes {
		t.Error("one that is complete makes room for one")
	}
	now = now.Add(handshakeTime)
	if begin(1) != nil || begin(1) != TooManyHandshakes {
		t.Error("time makes room for one")
	}
}
