package tfconvrnn

import (
	"fmt"

	"golang.org/x/sys/cpu"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// Precision is that of a model's convolutions and matrix products.
type Precision string

// The precisions that there are.
const (
	// Float32 is the precision of the published models.
	Float32 Precision = "float32"
	// BFloat16 computes with 8 significant bits on processors that have
	// instructions for it, and on GPUs, Ampere or later; see Model.PrecisionError for what that costs.
	BFloat16 Precision = "bfloat16"
)

// ParsePrecision reads float32, which "" is too, or bfloat16. The error wraps ErrOption.
func ParsePrecision(text string) (Precision, error) {
	switch p := Precision(text); p {
	case "":
		return Float32, nil
	case Float32, BFloat16:
		return p, nil
	}
	return "", fmt.Errorf("%w: unknown precision %q; there are %s and %s", ErrOption, text, Float32, BFloat16)
}

// String returns what ParsePrecision reads.
func (p Precision) String() string { return string(p) }

// WithPrecision chooses Float32, the default, or BFloat16. Load fails with
// ErrPrecision where the processor has no instructions for it.
func WithPrecision(precision Precision) Option {
	return func(o *loadOptions) (err error) {
		o.session.precision, err = ParsePrecision(string(precision))
		return err
	}
}

// checkPrecision refuses a precision that the device lacks: TensorFlow would take
// float32 without a word.
func (o sessionOptions) checkPrecision() error {
	if o.precision != BFloat16 {
		return nil
	}
	if o.device != "cpu" {
		return nil // the graph says it; see computeInBFloat16
	}
	if !cpu.X86.HasAVX512BF16 && !cpu.X86.HasAMXBF16 {
		return fmt.Errorf("%w: this processor has no instructions for %s (AVX512_BF16 or AMX_BF16); use %s", ErrPrecision,
			BFloat16, Float32)
	}
	return nil
}

// rewrites configures TensorFlow's graph optimizer.
func (o sessionOptions) rewrites() *tfpb.RewriterConfig {
	if o.precision != BFloat16 || o.device != "cpu" {
		// The graph is already what it should be; the optimizer would only make
		// first runs slower.
		return &tfpb.RewriterConfig{DisableMetaOptimizer: true}
	}
	const off = tfpb.RewriterConfig_OFF
	return &tfpb.RewriterConfig{
		AutoMixedPrecisionOnednnBfloat16: tfpb.RewriterConfig_ON,
		LayoutOptimizer:                  off, ConstantFolding: off, ArithmeticOptimization: off, DependencyOptimization: off,
		LoopOptimization: off, FunctionOptimization: off, ShapeOptimization: off, Remapping: off,
		PinToHostOptimization: off, ImplementationSelector: off, CommonSubgraphElimination: off,
	}
}
