package tfconvrnn

import (
	"fmt"
	"runtime"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

type sessionOptions struct {
	device      string
	precision   Precision
	convolution Convolution // once settled, what Model.Convolution returns
	threads     int
}

func defaultSessionOptions() sessionOptions {
	return sessionOptions{device: "cpu", precision: Float32, convolution: ConvolutionAuto, threads: runtime.GOMAXPROCS(0)}
}

// WithThreads limits the processor's cores that a model computes on; the default
// is all that the process may use. TensorFlow has one pool of threads in a process:
// the first model loaded decides for all later ones, and [Model.Threads] tells.
func WithThreads(threads int) Option {
	return func(o *loadOptions) error {
		if threads < 1 || threads > 4096 {
			return fmt.Errorf("%w: %d threads", ErrOption, threads)
		}
		o.session.threads = threads
		return nil
	}
}

// Threads is the number of threads that the model computes with on the processor: that
// of the first model loaded in the process. TensorFlow divides sums between them, so the
// last bits of its outputs depend on it.
func (m *Model) Threads() int { return m.session.threads }

// config returns the serialized ConfigProto of a session.
func (o sessionOptions) config(*libtf.Runtime) ([]byte, error) {
	if err := o.checkPrecision(); err != nil {
		return nil, err
	}
	config := &tfpb.ConfigProto{
		IntraOpParallelismThreads: int32(o.threads),
		InterOpParallelismThreads: int32(o.threads),
		AllowSoftPlacement:        true,
		GraphOptions: &tfpb.GraphOptions{
			OptimizerOptions: &tfpb.OptimizerOptions{OptLevel: tfpb.OptimizerOptions_L0},
			RewriteOptions:   o.rewrites(),
		},
		DeviceCount: map[string]int32{"GPU": 0},
	}
	if o.convolution != ConvolutionDirect {
		// Of the session's own, since the process's pool may be another model's.
		config.InterOpParallelismThreads, config.UsePerSessionThreads = int32(o.operations()), true
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(config)
}

// operations is how many operations run at once with this project's convolutions. Each of them uses all
// threads, and two at once take the cache from each other. On two cores one is 1.05–1.18 times as fast as two.
// With many cores there is not enough in an operation for all of them.
func (o sessionOptions) operations() int { return max(1, o.threads/4) }
