package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// phantom is an even field of soft tissue with Gaussian noise of a known standard deviation.
func phantom(size int, mean, deviation float64) slice {
	random := rand.New(rand.NewPCG(1, 2))
	s := slice{rows: size, columns: size, spacing: 1, hu: make([]float64, size*size)}
	for i := range s.hu {
		s.hu[i] = mean + deviation*random.NormFloat64()
	}
	return s
}

func measured(t *testing.T, slices ...slice) figures {
	t.Helper()
	var m noiseMeter
	for _, s := range slices {
		m.add(s)
	}
	found, err := m.result()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFindsTheNoiseOfAPhantom(t *testing.T) {
	for _, want := range []float64{5, 12, 20} {
		found := measured(t, phantom(200, 85, want))
		if math.Abs(found.NoiseHU-want) > 1.5 {
			t.Errorf("noise %g, put in %g", found.NoiseHU, want)
		}
		if math.Abs(found.TissueMeanHU-85) > 1 {
			t.Errorf("mean %g, put in 85", found.TissueMeanHU)
		}
	}
}

func TestAnEdgeDoesNotMoveThePeak(t *testing.T) {
	s := phantom(200, 85, 12)
	for i := range s.hu {
		if i%s.columns > 170 {
			s.hu[i] += 1000 // bone
		}
	}
	if found := measured(t, s); math.Abs(found.NoiseHU-12) > 1.5 {
		t.Errorf("noise %g, put in 12", found.NoiseHU)
	}
}

func TestPaddingIsLeftOut(t *testing.T) {
	s := phantom(40, 85, 5)
	all := measured(t, s).Windows
	s.hu[20*s.columns+20] = math.NaN()
	found := measured(t, s)
	// Every window with the padded pixel in it falls away: 7 x 7 of them.
	if all-found.Windows != 49 {
		t.Errorf("%d windows fell away, want 49", all-found.Windows)
	}
}

func TestSlicesArePooled(t *testing.T) {
	one := measured(t, phantom(60, 85, 12))
	two := measured(t, phantom(60, 85, 12), phantom(60, 85, 12))
	if two.Slices != 2 || two.Windows != 2*one.Windows || two.NoiseHU != one.NoiseHU {
		t.Errorf("%+v from two slices, %+v from one", two, one)
	}
}

func TestNoTissueIsAnErrorAndNotAFigure(t *testing.T) {
	var m noiseMeter
	m.add(phantom(40, -1000, 5))
	if _, err := m.result(); err == nil || !strings.Contains(err.Error(), "no soft tissue") {
		t.Errorf("%v", err)
	}
}

func TestWindowIsSixMillimetresAndOdd(t *testing.T) {
	for spacing, want := range map[float64]int{0.661468: 4, 1: 3, 0.5: 6, 2: 1, 6: 1, 100: 1} {
		if got := windowHalf(spacing); got != want {
			t.Errorf("%g mm: %d pixels each side, want %d", spacing, got, want)
		}
	}
}
