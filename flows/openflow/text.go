package openflow

// AppendText appends the value as in set_field.
func (v FieldValue) AppendText(b []byte) []byte { return b }
