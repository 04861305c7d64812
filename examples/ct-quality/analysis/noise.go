package main

import (
	"errors"
	"math"
)

// The global noise level of a CT examination, after
//
//	O. Christianson, J. Winslow, D. P. Frush, E. Samei: Automated Technique to Measure Noise in Clinical CT
//	Examinations. American Journal of Roentgenology 205 (2015) W93-W99, doi:10.2214/AJR.14.13613
//
// Around every soft-tissue pixel the standard deviation of the HU values in a small window is taken; the most frequent
// of these values over all slices is the noise. No region has to be placed by hand, and edges, which are rarer than
// even tissue, move the tail of the distribution instead of its peak.
const (
	softTissueMin = 0.0   // HU
	softTissueMax = 170.0 // HU
	windowWidth   = 6.0   // mm
	binWidth      = 1.0   // HU
	maxNoise      = 2000  // HU; an SD above it goes into the last bin
)

// figures is the result of a measurement. It holds nothing that points to a patient.
type figures struct {
	NoiseHU      float64 `json:"noiseHu"`      // global noise level
	TissueMeanHU float64 `json:"tissueMeanHu"` // mean over the soft-tissue pixels that were measured
	Windows      int     `json:"windows"`      // how many windows the figure rests on
	Slices       int     `json:"slices"`       // how many slices were read
}

// noiseMeter gathers windows slice by slice, so that a study of any length needs the memory of one slice.
type noiseMeter struct {
	bins    [maxNoise]int
	sum     float64
	windows int
	slices  int
}

func (m *noiseMeter) add(s slice) {
	m.slices++
	half := windowHalf(s.spacing)
	for row := half; row < s.rows-half; row++ {
		for column := half; column < s.columns-half; column++ {
			centre := s.hu[row*s.columns+column]
			// Written so that NaN, which is padding, is not tissue.
			if !(centre >= softTissueMin && centre <= softTissueMax) {
				continue
			}
			sd := s.deviation(row, column, half)
			if math.IsNaN(sd) {
				continue
			}
			m.bins[min(int(sd/binWidth), maxNoise-1)]++
			m.sum += centre
			m.windows++
		}
	}
}

func (m *noiseMeter) result() (figures, error) {
	if m.windows == 0 {
		return figures{}, errors.New("no soft tissue (0 to 170 HU) in the study: its noise cannot be measured")
	}
	fullest := 0
	for bin, count := range m.bins {
		if count > m.bins[fullest] {
			fullest = bin
		}
	}
	return figures{
		NoiseHU:      (float64(fullest) + 0.5) * binWidth,
		TissueMeanHU: math.Round(10*m.sum/float64(m.windows)) / 10,
		Windows:      m.windows,
		Slices:       m.slices,
	}, nil
}

// windowHalf is the number of pixels on each side of the centre: the window is a square with an odd number of pixels
// a side, as close to 6 mm as that allows from above, and at least 3.
func windowHalf(spacing float64) int {
	return max(1, int(math.Round(windowWidth/spacing))/2)
}

// deviation is the standard deviation of the window around a pixel; NaN when it holds padding.
func (s slice) deviation(row, column, half int) float64 {
	var sum float64
	for r := row - half; r <= row+half; r++ {
		for _, v := range s.hu[r*s.columns+column-half : r*s.columns+column+half+1] {
			sum += v
		}
	}
	n := float64((2*half + 1) * (2*half + 1))
	mean := sum / n
	var squares float64
	for r := row - half; r <= row+half; r++ {
		for _, v := range s.hu[r*s.columns+column-half : r*s.columns+column+half+1] {
			squares += (v - mean) * (v - mean)
		}
	}
	return math.Sqrt(squares / n)
}
