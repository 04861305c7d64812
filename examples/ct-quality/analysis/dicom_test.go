package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// fileBuilder writes DICOM files for the tests, in either of the two encodings.
type fileBuilder struct {
	buf      bytes.Buffer
	explicit bool
}

func newFile(syntax string) *fileBuilder {
	b := &fileBuilder{explicit: true}
	b.buf.Write(make([]byte, 128))
	b.buf.WriteString("DICM")
	b.put(tagTransferSyntax, "UI", []byte(syntax))
	b.explicit = syntax == explicitLittleEndian
	return b
}

func (b *fileBuilder) head(t tag, vr string, length uint32) {
	le := binary.LittleEndian
	b.buf.Write(le.AppendUint16(nil, uint16(t>>16)))
	b.buf.Write(le.AppendUint16(nil, uint16(t)))
	switch {
	case !b.explicit || vr == "":
		b.buf.Write(le.AppendUint32(nil, length))
	case vr == "OW" || vr == "SQ" || vr == "UN":
		b.buf.WriteString(vr + "\x00\x00")
		b.buf.Write(le.AppendUint32(nil, length))
	default:
		b.buf.WriteString(vr)
		b.buf.Write(le.AppendUint16(nil, uint16(length)))
	}
}

func (b *fileBuilder) put(t tag, vr string, value []byte) *fileBuilder {
	if len(value)%2 == 1 {
		value = append(value, ' ')
	}
	b.head(t, vr, uint32(len(value)))
	b.buf.Write(value)
	return b
}

func (b *fileBuilder) text(t tag, vr, value string) *fileBuilder { return b.put(t, vr, []byte(value)) }

func (b *fileBuilder) short(t tag, value int) *fileBuilder {
	return b.put(t, "US", binary.LittleEndian.AppendUint16(nil, uint16(value)))
}

// ct writes a whole CT image of stored values, 12 bits signed, 1 mm apart, HU = stored - 1024.
func (b *fileBuilder) ct(columns int, stored []int) *fileBuilder {
	pixels := make([]byte, 0, 2*len(stored))
	for _, v := range stored {
		pixels = binary.LittleEndian.AppendUint16(pixels, uint16(v)&0xFFF)
	}
	return b.text(tagModality, "CS", "CT").short(tagSamplesPerPixel, 1).
		short(tagRows, len(stored)/columns).short(tagColumns, columns).text(tagPixelSpacing, "DS", `1.0\1.0`).
		short(tagBitsAllocated, 16).short(tagBitsStored, 12).short(tagHighBit, 11).short(tagRepresentation, 1).
		short(tagPixelPadding, 0x800).text(tagRescaleIntercept, "DS", "-1024").text(tagRescaleSlope, "DS", "1").
		put(tagPixelData, "OW", pixels)
}

// nested writes a sequence of undefined length in an item of undefined length in another such sequence.
func (b *fileBuilder) nested(vr string) *fileBuilder {
	outer := b.explicit
	b.head(0x00081140, vr, undefinedLength)
	if vr == "UN" {
		b.explicit = false
	}
	b.head(tagItem, "", undefinedLength)
	b.head(0x00081199, "SQ", undefinedLength)
	b.head(tagItem, "", 10)
	b.buf.WriteString("0123456789")
	b.head(tagSequenceEnd, "", 0)
	b.put(tagRows, "US", []byte{99, 0})
	b.head(tagItemEnd, "", 0)
	b.head(tagSequenceEnd, "", 0)
	b.explicit = outer
	return b
}

func TestReadsBothEncodings(t *testing.T) {
	stored := []int{1024, 1023, -2048, 0, -1, 2047}
	want := []float64{0, -1, math.NaN(), -1024, -1025, 1023}
	for _, syntax := range []string{implicitLittleEndian, explicitLittleEndian} {
		for _, vr := range []string{"SQ", "UN"} {
			s, err := readSlice(newFile(syntax).nested(vr).ct(3, stored).buf.Bytes())
			if err != nil {
				t.Fatalf("%s, %s: %v", syntax, vr, err)
			}
			if s.rows != 2 || s.columns != 3 || s.spacing != 1 {
				t.Errorf("%s: %d x %d at %g mm", syntax, s.rows, s.columns, s.spacing)
			}
			for i := range want {
				if s.hu[i] != want[i] && !(math.IsNaN(s.hu[i]) && math.IsNaN(want[i])) {
					t.Errorf("%s: pixel %d is %g, want %g", syntax, i, s.hu[i], want[i])
				}
			}
		}
	}
}

func TestRefusesWhatItCannotMeasure(t *testing.T) {
	good := func() *fileBuilder { return newFile(explicitLittleEndian) }
	cases := map[string]struct {
		file []byte
		want string
	}{
		"no DICOM":     {[]byte("hello"), "not a DICOM file"},
		"compressed":   {newFile("1.2.840.10008.1.2.4.90").ct(1, []int{0}).buf.Bytes(), `"1.2.840.10008.1.2.4.90" is not supported`},
		"encapsulated": {func() []byte { b := good(); b.head(tagPixelData, "OW", undefinedLength); return b.buf.Bytes() }(), "encapsulated"},
		"MR":           {good().text(tagModality, "CS", "MR").buf.Bytes(), `modality is "MR"`},
		"multi-frame":  {good().text(tagNumberOfFrames, "IS", "3").ct(1, []int{0}).buf.Bytes(), `"3" frames`},
		"no spacing":   {good().ct(1, []int{0}).text(tagPixelSpacing, "DS", "").buf.Bytes(), "no pixel spacing"},
		"bad slope":    {good().ct(1, []int{0}).text(tagRescaleSlope, "DS", "one").buf.Bytes(), `"one" is not a number`},
		"short pixels": {good().ct(1, []int{0}).short(tagRows, 9).buf.Bytes(), "2 bytes of pixel data for 9 x 1"},
		"bad bits":     {good().ct(1, []int{0}).short(tagHighBit, 3).buf.Bytes(), "do not fit"},
		"8 bits":       {good().ct(1, []int{0}).short(tagBitsAllocated, 8).buf.Bytes(), "8 bits allocated"},
	}
	for name, c := range cases {
		if _, err := readSlice(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestEveryTruncationIsAnErrorAndNoPanic(t *testing.T) {
	whole := newFile(explicitLittleEndian).nested("SQ").ct(2, []int{1, 2, 3, 4}).buf.Bytes()
	for n := range whole {
		if _, err := readSlice(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(whole))
		}
	}
}

func TestEndlessNestingIsRefused(t *testing.T) {
	b := newFile(explicitLittleEndian)
	for range 1000 {
		b.head(0x00081140, "SQ", undefinedLength)
		b.head(tagItem, "", undefinedLength)
	}
	if _, err := readSlice(b.buf.Bytes()); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("%v", err)
	}
}
