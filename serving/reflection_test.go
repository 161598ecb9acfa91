package serving

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/tfconvrnn/go/internal/inferencepb"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// described asks a service for its description, as grpcurl does, and returns the description of one of its services.
func described(t *testing.T, connection *grpc.ClientConn, name string) (services []string,
	of protoreflect.ServiceDescriptor) {
	stream, err := grpc_reflection_v1.NewServerReflectionClient(connection).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	ask := func(r *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		require.NoError(t, stream.Send(r))
		answer, err := stream.Recv()
		require.NoError(t, err)
		require.Nil(t, answer.GetErrorResponse())
		return answer
	}
	list := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().Service {
		services = append(services, s.Name)
	}
	files := &descriptorpb.FileDescriptorSet{}
	answer := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
	for _, text := range answer.GetFileDescriptorResponse().FileDescriptorProto {
		file := &descriptorpb.FileDescriptorProto{}
		require.NoError(t, proto.Unmarshal(text, file))
		files.File = append(files.File, file)
	}
	registry, err := protodesc.NewFiles(files)
	require.NoError(t, err)
	found, err := registry.FindDescriptorByName(protoreflect.FullName(name))
	require.NoError(t, err)
	return services, found.(protoreflect.ServiceDescriptor)
}

// A client that knows nothing but the address learns what to call from the service, and gets what extract gives.
func TestReflection(t *testing.T) {
	s, _ := newTestService(t, Options{})
	connection := grpcConnection(t, s)
	services, service := described(t, connection, "inference.GRPCInferenceService")
	assert.Subset(t, services, []string{"inference.GRPCInferenceService", "grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection"})
	method := service.Methods().ByName("ModelInfer")
	require.NotNil(t, method)
	pixels := randomPixels(1, 7)
	request := dynamicpb.NewMessage(method.Input())
	set := func(m protoreflect.Message, name string, v any) {
		m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(v))
	}
	set(request, "model_name", testModel)
	input := request.Mutable(method.Input().Fields().ByName("inputs")).List()
	image := input.AppendMutable().Message()
	set(image, "name", "images")
	set(image, "datatype", "UINT8")
	shape := image.Mutable(image.Descriptor().Fields().ByName("shape")).List()
	for _, n := range []int64{1, 224, 224, 3} {
		shape.Append(protoreflect.ValueOfInt64(n))
	}
	request.Mutable(method.Input().Fields().ByName("raw_input_contents")).List().Append(protoreflect.ValueOfBytes(pixels))
	wanted := request.Mutable(method.Input().Fields().ByName("outputs")).List().AppendMutable().Message()
	set(wanted, "name", "logits")
	response := dynamicpb.NewMessage(method.Output())
	require.NoError(t, connection.Invoke(t.Context(), "/inference.GRPCInferenceService/ModelInfer", request, response))
	raw := response.Get(method.Output().Fields().ByName("raw_output_contents")).List()
	require.Equal(t, 1, raw.Len())
	got := &tensor{datatype: "FP32", data: raw.Get(0).Bytes()}
	assert.Equal(t, extracted(t, pixels, tfconvrnn.OnlyLogits(), tfconvrnn.Logits()).Logits, got.float32s())
}

// Without the token nothing is described and no message is read.
func TestGRPCToken(t *testing.T) {
	s := emptyService(t, Options{Token: "0123456789abcdef"})
	connection := grpcConnection(t, s)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(connection).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	_, err = stream.Recv()
	assert.Equal(t, codes.Unauthenticated, status.Code(err))
	client := grpcClient(t, s)
	_, err = client.ServerMetadata(t.Context(), &inferencepb.ServerMetadataRequest{})
	assert.Equal(t, codes.Unauthenticated, status.Code(err))
	_, err = client.ServerMetadata(metadata.AppendToOutgoingContext(t.Context(), "authorization",
		"Bearer 0123456789abcdeg"), &inferencepb.ServerMetadataRequest{})
	assert.Equal(t, codes.Unauthenticated, status.Code(err))
	_, err = client.ServerLive(t.Context(), &inferencepb.ServerLiveRequest{})
	require.NoError(t, err)
	_, err = client.ServerMetadata(metadata.AppendToOutgoingContext(t.Context(), "authorization",
		"Bearer 0123456789abcdef"), &inferencepb.ServerMetadataRequest{})
	require.NoError(t, err)
}
