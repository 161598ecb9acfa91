package tfconvrnn

import (
	"fmt"

	"golang.org/x/sys/cpu"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// The precisions of a model's convolutions and matrix products.
const (
	// Float32 is the precision of the published models.
	Float32 = "float32"
	// BFloat16 computes with 8 significant bits on processors that have
	// instructions for it; see Model.PrecisionError for what that costs.
	BFloat16 = "bfloat16"
)

// WithPrecision chooses Float32, the default, or BFloat16. Load fails with
// ErrPrecision where the device has no instructions for it.
func WithPrecision(precision string) Option {
	return func(o *loadOptions) error {
		switch precision {
		case "", Float32:
			o.session.precision = Float32
		case BFloat16:
			o.session.precision = BFloat16
		default:
			return fmt.Errorf("%w: unknown precision %q; there are %s and %s", ErrOption, precision, Float32, BFloat16)
		}
		return nil
	}
}

// checkPrecision refuses a precision that the device lacks: TensorFlow would take
// float32 without a word.
func (o sessionOptions) checkPrecision() error {
	if o.precision != BFloat16 {
		return nil
	}
	if o.device != "cpu" {
		return fmt.Errorf("%w: %s on %s; it is there for processors only, on GPUs use TF32", ErrPrecision, BFloat16, o.device)
	}
	if !cpu.X86.HasAVX512BF16 && !cpu.X86.HasAMXBF16 {
		return fmt.Errorf("%w: this processor has no instructions for %s (AVX512_BF16 or AMX_BF16); use %s", ErrPrecision, BFloat16, Float32)
	}
	return nil
}

// rewrites configures TensorFlow's graph optimizer.
func (o sessionOptions) rewrites() *tfpb.RewriterConfig {
	if o.precision != BFloat16 {
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
