package inspect

// Activity is how busy a host's loop and its switches' connections are.
type Activity struct {
	Punts       map[string]uint64 `json:"punts"`          // packets that VIFs asked the controller with since the host connected, by operation
	Dropped     map[string]uint64 `json:"punts_dropped"`  // that nobody looked at since br-int connected, by reason
	LastPlan    int               `json:"last_plan"`      // changes in the last plan that was sent
	Compile     int64             `json:"compile_us"`     // microseconds of the last compilation
	Acknowledge int64             `json:"acknowledge_us"` // microseconds from sending the last plan to its last acknowledgement
}
