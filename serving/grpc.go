package serving

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tfconvrnn/go/internal/inferencepb"
	"github.com/tfconvrnn/go/internal/version"
)

// GRPC returns a new gRPC server of the service: the protocol's service, the standard health
// service, and reflection. The caller serves and stops it; options come after the service's own.
func (s *Service) GRPC(options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(s.options.MaxBody)), grpc.MaxSendMsgSize(int(min(s.options.MaxMemory, 1<<31-1))),
		grpc.MaxConcurrentStreams(256), grpc.MaxHeaderListSize(32 << 10), grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second,
			MaxConnectionIdle: 10 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream), grpc.InTapHandle(s.tap),
	}, options...)...)
	inferencepb.RegisterGRPCInferenceServiceServer(server, &inferenceServer{service: s})
	grpc_health_v1.RegisterHealthServer(server, &healthServer{service: s})
	reflection.Register(server)
	return server
}

func (s *Service) grpcServer(certificate *tls.Config, options ...grpc.ServerOption) *grpc.Server {
	if certificate != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(certificate)))
	}
	return s.GRPC(options...)
}

// codesOf are those of failures.
var codesOf = map[failure]codes.Code{
	failureInternal: codes.Internal, failureRequest: codes.InvalidArgument, failureUnknown: codes.NotFound,
	failureUnsupported: codes.Unimplemented,
	failureTooLarge:    codes.InvalidArgument, failureBusy: codes.ResourceExhausted, failureNotReady: codes.Unavailable,
	failureDeadline: codes.DeadlineExceeded, failureCancelled: codes.Canceled, failureSpace: codes.ResourceExhausted,
}

// grpcError makes an error a status, which says when to try again.
func (s *Service) grpcError(ctx context.Context, method string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	what := kind(err)
	if what == failureInternal {
		s.options.Log.Error("request failed", "method", method, "error", err)
	}
	st := status.New(codesOf[what], strings.ToValidUTF8(err.Error(), "?"))
	var busy *BusyError
	if errors.As(err, &busy) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", strconv.Itoa(busy.seconds()))) // the status says it too
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(busy.RetryAfter)}); err == nil {
			st = with
		}
	}
	return st.Err()
}

// tap checks the token before a call's message is read, so that nobody without one makes the service keep it.
func (s *Service) tap(ctx context.Context, call *tap.Info) (context.Context, error) {
	method := call.FullMethodName
	if strings.HasPrefix(method, "/grpc.health.v1.") || strings.HasSuffix(method, "/ServerLive") ||
		strings.HasSuffix(method, "/ServerReady") {
		return ctx, nil
	}
	header := ""
	if values := call.Header.Get("authorization"); len(values) > 0 {
		header = values[0]
	}
	if s.authorized(header) {
		return ctx, nil
	}
	s.metrics.answered("grpc", "refused", codes.Unauthenticated.String(), 0)
	return ctx, status.Error(codes.Unauthenticated, "this service needs a token: authorization: Bearer TOKEN")
}

// unary counts and guards a call.
func (s *Service) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (
	response any, err error) {
	begin := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			response, err = nil, s.engine.panicked(cause)
		}
		if err != nil {
			err = s.grpcError(ctx, info.FullMethod, err)
		}
		method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
		s.metrics.answered("grpc", method, status.Code(err).String(), time.Since(begin))
		s.options.Log.Debug("call", "method", info.FullMethod, "code", status.Code(err).String(), "seconds",
			time.Since(begin).Seconds())
	}()
	return handler(ctx, request)
}

// stream guards a call of reflection or of watching health.
func (s *Service) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.grpcError(stream.Context(), info.FullMethod, s.engine.panicked(cause))
		}
	}()
	return handler(server, stream)
}

// healthServer is the standard health service.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	service *Service
}

// Check answers for the server, "", or a model by its name.
func (h *healthServer) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (
	*grpc_health_v1.HealthCheckResponse, error) {
	state := grpc_health_v1.HealthCheckResponse_SERVING
	switch {
	case r.Service == "" || r.Service == inferencepb.GRPCInferenceService_ServiceDesc.ServiceName:
		if h.service.Ready() != nil {
			state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
	case slices.Contains(h.service.names, r.Service):
		if _, err := h.service.model(r.Service, ""); err != nil {
			state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
	default:
		return nil, status.Errorf(codes.NotFound, "unknown service %q", strings.ToValidUTF8(r.Service, "?"))
	}
	return &grpc_health_v1.HealthCheckResponse{Status: state}, nil
}

// inferenceServer is the protocol's service.
type inferenceServer struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
	service *Service
}

// ServerLive says that the server answers.
func (i *inferenceServer) ServerLive(context.Context, *inferencepb.ServerLiveRequest) (*inferencepb.ServerLiveResponse,
	error) {
	return &inferencepb.ServerLiveResponse{Live: true}, nil
}

// ServerReady says whether all models are loaded and requests are accepted.
func (i *inferenceServer) ServerReady(context.Context, *inferencepb.ServerReadyRequest) (
	*inferencepb.ServerReadyResponse, error) {
	return &inferencepb.ServerReadyResponse{Ready: i.service.Ready() == nil}, nil
}

// ModelReady says whether a model is loaded.
func (i *inferenceServer) ModelReady(_ context.Context, r *inferencepb.ModelReadyRequest) (
	*inferencepb.ModelReadyResponse, error) {
	_, err := i.service.model(r.Name, r.Version)
	if errors.Is(err, ErrNotReady) {
		err = nil
		return &inferencepb.ModelReadyResponse{}, err
	}
	return &inferencepb.ModelReadyResponse{Ready: err == nil}, err
}

// ServerMetadata describes the server.
func (i *inferenceServer) ServerMetadata(context.Context, *inferencepb.ServerMetadataRequest) (
	*inferencepb.ServerMetadataResponse, error) {
	return &inferencepb.ServerMetadataResponse{Name: serverName, Version: version.Version, Extensions: extensions}, nil
}

// ModelMetadata describes a model.
func (i *inferenceServer) ModelMetadata(_ context.Context, r *inferencepb.ModelMetadataRequest) (
	*inferencepb.ModelMetadataResponse, error) {
	model, err := i.service.model(r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	m := model.metadata()
	tensors := func(list []tensorMetadata) (messages []*inferencepb.ModelMetadataResponse_TensorMetadata) {
		for _, t := range list {
			messages = append(messages, &inferencepb.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.Datatype,
				Shape: t.Shape})
		}
		return messages
	}
	return &inferencepb.ModelMetadataResponse{Name: m.Name, Versions: m.Versions, Platform: m.Platform,
		Inputs: tensors(m.Inputs), Outputs: tensors(m.Outputs), Properties: m.Properties}, nil
}

// ModelInfer computes.
func (i *inferenceServer) ModelInfer(ctx context.Context, m *inferencepb.ModelInferRequest) (
	*inferencepb.ModelInferResponse, error) {
	s := i.service
	if err := s.engine.full(); err != nil {
		return nil, err
	}
	done, err := s.accept()
	if err != nil {
		return nil, err
	}
	defer done()
	t := &ticket{engine: s.engine, copies: 3} // the results, their bytes and the message
	defer t.release()
	model, err := s.model(m.ModelName, m.ModelVersion)
	if err != nil {
		return nil, err
	}
	request, size, err := parseGRPC(m)
	if err != nil {
		return nil, err
	}
	if err := t.reserve(size); err != nil {
		return nil, err
	}
	response, err := s.infer(ctx, t, model, request)
	if err != nil {
		return nil, err
	}
	defer s.metrics.time("encode")()
	return response.message()
}

// parameters returns the values of a message's parameters.
func grpcParameters(messages map[string]*inferencepb.InferParameter) (parameters, error) {
	p := parameters{}
	for name, m := range messages {
		switch v := m.GetParameterChoice().(type) {
		case *inferencepb.InferParameter_BoolParam:
			p[name] = v.BoolParam
		case *inferencepb.InferParameter_Int64Param:
			p[name] = json.Number(strconv.FormatInt(v.Int64Param, 10))
		case *inferencepb.InferParameter_Uint64Param:
			p[name] = json.Number(strconv.FormatUint(v.Uint64Param, 10))
		case *inferencepb.InferParameter_DoubleParam:
			p[name] = json.Number(strconv.FormatFloat(v.DoubleParam, 'g', -1, 64))
		case *inferencepb.InferParameter_StringParam:
			p[name] = v.StringParam
		default:
			return nil, requestf("the parameter %q has no value", name)
		}
	}
	return p, nil
}

// message makes a response a message.
func (r *inferResponse) message() (*inferencepb.ModelInferResponse, error) {
	m := &inferencepb.ModelInferResponse{ModelName: r.model, ModelVersion: modelVersion, Id: r.id,
		Parameters: map[string]*inferencepb.InferParameter{}}
	for name, value := range r.parameters {
		p := &inferencepb.InferParameter{}
		switch value := value.(type) {
		case bool:
			p.ParameterChoice = &inferencepb.InferParameter_BoolParam{BoolParam: value}
		case int64:
			p.ParameterChoice = &inferencepb.InferParameter_Int64Param{Int64Param: value}
		case string:
			p.ParameterChoice = &inferencepb.InferParameter_StringParam{StringParam: value}
		}
		m.Parameters[name] = p
	}
	for _, o := range r.outputs {
		m.Outputs = append(m.Outputs, &inferencepb.ModelInferResponse_InferOutputTensor{Name: o.name, Datatype: o.datatype,
			Shape: o.shape})
		raw := make([]byte, 0, o.size())
		err := o.writeRaw(func(part []byte) error {
			raw = append(raw, part...)
			return nil
		})
		if err != nil {
			return nil, err
		}
		m.RawOutputContents = append(m.RawOutputContents, raw)
	}
	return m, nil
}
