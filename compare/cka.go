package compare

import (
	"fmt"
	"math"

	"github.com/tfconvrnn/go/internal/parallel"
)

// CKA is the linear centred kernel alignment of two sets of features of the same
// stimuli, unbiased, as Brain-Score's default:
//
//	HSIC(K,L) = [ΣK∘L + (1ᵀK1)(1ᵀL1)/((n−1)(n−2)) − 2/(n−2)·(K1)ᵀ(L1)]/(n(n−3))
//	CKA = HSIC(K,L)/(√(HSIC(K,K)HSIC(L,L)) + 1e-12)
//
// with zeros in the diagonals of K and L; 0 where the product is not positive. The
// error wraps ErrData for fewer than 4 stimuli.
func CKA(a, b *Gram) (float64, error) {
	if a.n != b.n || a.n < 4 {
		return 0, fmt.Errorf("%w: CKA of %d and %d stimuli; it needs as many of both, at least 4", ErrData, a.n, b.n)
	}
	return unbiasedCKA(a, b, upTo(a.n)), nil
}

// CKAOf is CKA of some of the stimuli.
func CKAOf(a, b *Gram, stimuli []int) (float64, error) {
	if a.n != b.n || len(stimuli) < 4 {
		return 0, fmt.Errorf("%w: CKA of %d and %d stimuli, of which %d", ErrData, a.n, b.n, len(stimuli))
	}
	return unbiasedCKA(a, b, stimuli), nil
}

func unbiasedCKA(a, b *Gram, stimuli []int) float64 {
	product := hsic(a, a, stimuli) * hsic(b, b, stimuli)
	if !(product > 0) {
		if math.IsNaN(product) {
			return product
		}
		return 0
	}
	return hsic(a, b, stimuli) / (math.Sqrt(product) + 1e-12)
}

func hsic(a, b *Gram, stimuli []int) float64 {
	k, l, n := a.matrix(), b.matrix(), float64(len(stimuli))
	products, ofK, ofL := make([]float64, len(stimuli)), make([]float64, len(stimuli)), make([]float64, len(stimuli))
	parallel.For(len(stimuli), 16, func(i int) {
		at := stimuli[i] * a.n
		for j, other := range stimuli {
			if i != j {
				x, y := k[at+other], l[at+other]
				products[i] += x * y
				ofK[i] += x
				ofL[i] += y
			}
		}
	})
	return (meanOf(products)*n + meanOf(ofK)*n*meanOf(ofL)*n/((n-1)*(n-2)) - 2/(n-2)*dot(ofK, ofL)) / (n * (n - 3))
}

// BiasedCKA is ‖X_cᵀY_c‖²/(‖X_cᵀX_c‖‖Y_cᵀY_c‖) with Frobenius norms. The error wraps
// ErrData.
func BiasedCKA(a, b *Gram) (float64, error) { return BiasedCKAOf(a, b, upTo(a.n)) }

// BiasedCKAOf is BiasedCKA of some of the stimuli.
func BiasedCKAOf(a, b *Gram, stimuli []int) (float64, error) {
	if a.n != b.n || len(stimuli) < 2 {
		return 0, fmt.Errorf("%w: CKA of %d and %d stimuli, of which %d", ErrData, a.n, b.n, len(stimuli))
	}
	k, l := a.centred(stimuli, stimuli), b.centred(stimuli, stimuli)
	size := math.Sqrt(dot(k, k) * dot(l, l))
	if a.Constant() || b.Constant() || size == 0 {
		return 0, nil
	}
	return dot(k, l) / size, nil
}
