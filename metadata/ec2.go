package metadata

import (
	"fmt"
	"strings"
)

// ec2Versions are those of EC2's metadata that clients ask for; here they hold the same.
var ec2Versions = []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "latest"}

// ec2 is the tree below /.
func ec2(m *machine) *node {
	k := m.kept()
	address := ""
	if a := m.ipv4(); a.IsValid() {
		address = a.String()
	}
	data := map[string]*node{
		"ami-id":          text("ami-00000000"),
		"hostname":        text(m.hostname()),
		"instance-action": text("none"),
		"instance-id":     text(ec2ID(m.instance())),
		"instance-type":   text("none"),
		"local-hostname":  text(m.hostname()),
		"local-ipv4":      text(address),
		"mac":             text(m.port.MACAddress.String()),
		"placement":       directory(map[string]*node{"availability-zone": text(zone)}, "/"),
		"public-hostname": text(m.hostname()),
		"public-ipv4":     text(""),
		"reservation-id":  text("r-" + strings.TrimPrefix(ec2ID(m.instance()), "i-")),
	}
	if names := publicKeys(k); len(names) > 0 {
		keys := &node{children: map[string]*node{}}
		list := make([]string, len(names)) // as number=name, unlike all others
		for i, name := range names {
			list[i] = fmt.Sprintf("%d=%s", i, name)
			keys.children[fmt.Sprint(i)] = directory(map[string]*node{"openssh-key": text(k.PublicKeys[name])}, "/")
		}
		keys.list = strings.Join(list, "\n")
		data["public-keys"] = keys
	}
	files := map[string]*node{"meta-data": directory(data, "/")}
	if len(k.UserData) > 0 {
		files["user-data"] = text(string(k.UserData))
	}
	below := directory(files, "/")
	below.children["instance-id"] = data["instance-id"] // where CirrOS looks whether anybody answers
	return versions(ec2Versions, below)
}

// ec2ID is the form in which EC2 names instances, i- and 17 hexadecimal digits, of an instance's UUID, or
// what the instance is called if that is none.
func ec2ID(instance string) string {
	digits := strings.ReplaceAll(instance, "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdef") != "" {
		return instance
	}
	return "i-" + digits[:17]
}
