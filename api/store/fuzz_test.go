package store

import "testing"

// Whatever is written under a row's key, reading it says so or makes a row that can be filed and
// taken out again.
func FuzzDecode(f *testing.F) {
	f.Add("network/5d2b", `{"ID":"00000000-0000-0000-0000-000000000001","Segment":{"NetworkType":"vxlan","SegmentationID":7}}`)
	f.Add("port/5d2b", `{"FixedIPs":[{"IPAddress":"fe80::1%eth0"},{}],"DeviceID":"a/b","HostID":"h\u0000"}`)
	f.Add("subnet/5d2b", `{"CIDR":"10.0.0.0/24"}`)
	f.Add("claim/", `null`)
	f.Add("nothing/1", `{}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		c, ok, err := decode(rowRoot+key, []byte(value))
		if err != nil || !ok {
			return
		}
		e := emptyState().edit()
		e.apply(c, 1)
		e.apply(c, 2)
		e.apply(change{table: c.table, key: c.key}, 3)
		if s := e.state(3); s.rows[c.table.number].Len()+s.unique.Len()+s.index.Len() != 0 {
			t.Errorf("%s %s leaves something behind", key, value)
		}
	})
}
