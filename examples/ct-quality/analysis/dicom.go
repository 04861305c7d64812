package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Transfer syntaxes this reader understands: the two uncompressed little-endian ones.
const (
	implicitLittleEndian = "1.2.840.10008.1.2"
	explicitLittleEndian = "1.2.840.10008.1.2.1"
)

const undefinedLength = 0xFFFFFFFF

// maxNesting bounds how deep sequences may lie in each other, so that a crafted file cannot exhaust the stack.
const maxNesting = 32

type tag uint32

const (
	tagTransferSyntax   tag = 0x00020010
	tagModality         tag = 0x00080060
	tagSamplesPerPixel  tag = 0x00280002
	tagNumberOfFrames   tag = 0x00280008
	tagRows             tag = 0x00280010
	tagColumns          tag = 0x00280011
	tagPixelSpacing     tag = 0x00280030
	tagBitsAllocated    tag = 0x00280100
	tagBitsStored       tag = 0x00280101
	tagHighBit          tag = 0x00280102
	tagRepresentation   tag = 0x00280103
	tagPixelPadding     tag = 0x00280120
	tagRescaleIntercept tag = 0x00281052
	tagRescaleSlope     tag = 0x00281053
	tagPixelData        tag = 0x7FE00010
	tagItem             tag = 0xFFFEE000
	tagItemEnd          tag = 0xFFFEE00D
	tagSequenceEnd      tag = 0xFFFEE0DD
)

func (t tag) String() string { return fmt.Sprintf("(%04X,%04X)", uint32(t)>>16, uint32(t)&0xFFFF) }

// dataset holds the raw values of the top level of a DICOM file, by tag.
type dataset map[tag][]byte

// readDataset reads a DICOM file (PS3.10). Sequences are stepped over, not kept.
func readDataset(file []byte) (dataset, error) {
	if len(file) < 132 || string(file[128:132]) != "DICM" {
		return nil, errors.New("not a DICOM file: no DICM mark at byte 128")
	}
	// The file meta information is always explicit little endian.
	r := reader{buf: file, pos: 132, explicit: true}
	set := dataset{}
	if err := r.elements(set, func(t tag) bool { return t>>16 != 0x0002 }); err != nil {
		return nil, fmt.Errorf("file meta information: %w", err)
	}
	syntax := set.text(tagTransferSyntax)
	switch syntax {
	case implicitLittleEndian:
		r.explicit = false
	case explicitLittleEndian:
	default:
		return nil, fmt.Errorf("transfer syntax %q is not supported: only uncompressed little endian (%s, %s); "+
			"let the archive transcode it", syntax, implicitLittleEndian, explicitLittleEndian)
	}
	if err := r.elements(set, func(tag) bool { return false }); err != nil {
		return nil, err
	}
	return set, nil
}

type reader struct {
	buf      []byte
	pos      int
	explicit bool
}

// elements reads into `set` until the buffer ends or `stop` says that the next element is not ours.
func (r *reader) elements(set dataset, stop func(tag) bool) error {
	for r.pos < len(r.buf) {
		start := r.pos
		e, err := r.header()
		if err != nil {
			return err
		}
		if stop(e.tag) {
			r.pos = start
			return nil
		}
		if e.length == undefinedLength {
			if e.tag == tagPixelData {
				return errors.New("pixel data is encapsulated although the transfer syntax says it is not")
			}
			if err := r.skipSequence(e, 1); err != nil {
				return fmt.Errorf("sequence %v: %w", e.tag, err)
			}
			continue
		}
		value, err := r.take(e.length)
		if err != nil {
			return fmt.Errorf("element %v: %w", e.tag, err)
		}
		set[e.tag] = value
	}
	return nil
}

// element is what stands before a value.
type element struct {
	tag    tag
	vr     string // empty where the encoding carries none
	length uint32
}

// header reads the start of an element. PS3.5 §7.1: some explicit VRs have a 32-bit length after two reserved bytes.
func (r *reader) header() (element, error) {
	head, err := r.take(8)
	if err != nil {
		return element{}, err
	}
	e := element{tag: tag(binary.LittleEndian.Uint16(head))<<16 | tag(binary.LittleEndian.Uint16(head[2:]))}
	// Items and delimiters carry no VR in either encoding.
	if !r.explicit || e.tag>>16 == 0xFFFE {
		e.length = binary.LittleEndian.Uint32(head[4:])
		return e, nil
	}
	e.vr = string(head[4:6])
	switch e.vr {
	case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
		long, err := r.take(4)
		if err != nil {
			return element{}, err
		}
		e.length = binary.LittleEndian.Uint32(long)
	default:
		e.length = uint32(binary.LittleEndian.Uint16(head[6:]))
	}
	return e, nil
}

// skipSequence steps over the items of a sequence of undefined length, its header read already.
func (r *reader) skipSequence(sequence element, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("sequences nested deeper than %d", maxNesting)
	}
	// PS3.5 §6.2.2: what lies in a sequence of unknown VR is implicit, whatever the file is.
	if sequence.vr == "UN" {
		defer func(outer bool) { r.explicit = outer }(r.explicit)
		r.explicit = false
	}
	for {
		item, err := r.header()
		switch {
		case err != nil:
			return err
		case item.tag == tagSequenceEnd:
			return nil
		case item.tag != tagItem:
			return fmt.Errorf("%v where an item must be", item.tag)
		case item.length != undefinedLength:
			if _, err := r.take(item.length); err != nil {
				return err
			}
		default:
			if err := r.skipItem(depth); err != nil {
				return err
			}
		}
	}
}

// skipItem steps over the elements of an item of undefined length.
func (r *reader) skipItem(depth int) error {
	for {
		e, err := r.header()
		switch {
		case err != nil:
			return err
		case e.tag == tagItemEnd:
			return nil
		case e.length == undefinedLength:
			if err := r.skipSequence(e, depth+1); err != nil {
				return err
			}
		default:
			if _, err := r.take(e.length); err != nil {
				return err
			}
		}
	}
}

func (r *reader) take(n uint32) ([]byte, error) {
	if uint64(n) > uint64(len(r.buf)-r.pos) {
		return nil, fmt.Errorf("truncated at byte %d: %d bytes wanted, %d left", r.pos, n, len(r.buf)-r.pos)
	}
	value := r.buf[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return value, nil
}

func (d dataset) text(t tag) string { return strings.Trim(string(d[t]), " \x00") }

// short reads an unsigned 16-bit value; `missing` is what an absent element means.
func (d dataset) short(t tag, missing int) int {
	if len(d[t]) < 2 {
		return missing
	}
	return int(binary.LittleEndian.Uint16(d[t]))
}

// decimal reads the first value of a decimal string; `missing` is what an absent or empty element means.
func (d dataset) decimal(t tag, missing float64) (float64, error) {
	first, _, _ := strings.Cut(d.text(t), "\\")
	if first == "" {
		return missing, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("element %v: %q is not a number", t, first)
	}
	return v, nil
}
