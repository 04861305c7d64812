package main

import (
	"encoding/binary"
	"fmt"
	"math"
)

// slice is one CT image in Hounsfield units (HU).
type slice struct {
	rows, columns int
	hu            []float64 // row by row; NaN where the scanner put padding outside its field of view
	spacing       float64   // mm between the centres of two rows
}

// readSlice turns a DICOM file into a CT slice and says what is wrong with any other file.
func readSlice(file []byte) (slice, error) {
	d, err := readDataset(file)
	if err != nil {
		return slice{}, err
	}
	if m := d.text(tagModality); m != "CT" {
		return slice{}, fmt.Errorf("modality is %q, not CT", m)
	}
	if n, err := d.decimal(tagNumberOfFrames, 1); err != nil || n != 1 {
		return slice{}, fmt.Errorf("%q frames in one file: only single-frame images are supported", d.text(tagNumberOfFrames))
	}
	if n := d.short(tagSamplesPerPixel, 1); n != 1 {
		return slice{}, fmt.Errorf("%d samples per pixel, a CT image has 1", n)
	}
	if n := d.short(tagBitsAllocated, 0); n != 16 {
		return slice{}, fmt.Errorf("%d bits allocated, only 16 are supported", n)
	}
	s := slice{rows: d.short(tagRows, 0), columns: d.short(tagColumns, 0)}
	pixels := d[tagPixelData]
	if s.rows == 0 || s.columns == 0 || len(pixels) < 2*s.rows*s.columns {
		return slice{}, fmt.Errorf("%d bytes of pixel data for %d x %d pixels of 2 bytes", len(pixels), s.rows, s.columns)
	}
	if s.spacing, err = d.decimal(tagPixelSpacing, 0); err != nil {
		return slice{}, err
	}
	if s.spacing <= 0 {
		return slice{}, fmt.Errorf("no pixel spacing %v: lengths in mm are unknown", tagPixelSpacing)
	}
	decode, err := d.storedValue()
	if err != nil {
		return slice{}, err
	}
	slope, err := d.decimal(tagRescaleSlope, 1)
	if err != nil {
		return slice{}, err
	}
	intercept, err := d.decimal(tagRescaleIntercept, 0)
	if err != nil {
		return slice{}, err
	}
	padding, padded := d.padding(decode)
	s.hu = make([]float64, s.rows*s.columns)
	for i := range s.hu {
		v := decode(binary.LittleEndian.Uint16(pixels[2*i:]))
		if padded && v == padding {
			s.hu[i] = math.NaN()
		} else {
			s.hu[i] = float64(v)*slope + intercept
		}
	}
	return s, nil
}

// storedValue gives the function from 16 allocated bits to the stored number: cut out by bits stored and high bit,
// sign extended where the representation is two's complement (PS3.5 §8.1.1).
func (d dataset) storedValue() (func(uint16) int, error) {
	stored := d.short(tagBitsStored, 16)
	high := d.short(tagHighBit, stored-1)
	if stored < 1 || stored > 16 || high < stored-1 || high > 15 {
		return nil, fmt.Errorf("%d bits stored up to bit %d do not fit into 16 allocated bits", stored, high)
	}
	signed := d.short(tagRepresentation, 0) == 1
	shift := high - stored + 1
	return func(raw uint16) int {
		v := int(raw>>shift) & (1<<stored - 1)
		if signed && v >= 1<<(stored-1) {
			v -= 1 << stored
		}
		return v
	}, nil
}

// padding is the stored value that marks pixels outside the field of view, when there is one.
func (d dataset) padding(decode func(uint16) int) (int, bool) {
	if len(d[tagPixelPadding]) < 2 {
		return 0, false
	}
	return decode(binary.LittleEndian.Uint16(d[tagPixelPadding])), true
}
