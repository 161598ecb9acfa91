// Command generate makes the Go code of inference.proto. It compiles the description by
// itself, so that no protoc is needed, and runs the generators that go.mod pins.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const source = "inference.proto"

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes the files beside the description in a folder.
func run(dir string) error {
	files, err := generate(context.Background(), dir)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(dir+"/"+name, content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the files by their names.
func generate(ctx context.Context, dir string) (map[string][]byte, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{dir}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, source)
	if err != nil {
		return nil, err
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{source},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protoutil.ProtoFromFileDescriptor(compiled[0])},
		// The generated files name it.
		CompilerVersion: &pluginpb.Version{Major: proto.Int32(0), Minor: proto.Int32(14), Patch: proto.Int32(1),
			Suffix: proto.String("protocompile")},
	})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		var out, problems bytes.Buffer
		command := exec.CommandContext(ctx, "go", "tool", plugin)
		command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(request), &out, &problems
		if err := command.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", plugin, err, problems.Bytes())
		}
		var response pluginpb.CodeGeneratorResponse
		if err := proto.Unmarshal(out.Bytes(), &response); err != nil {
			return nil, err
		}
		if response.Error != nil {
			return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
		}
		for _, f := range response.File {
			files[f.GetName()] = []byte(f.GetContent())
		}
	}
	return files, nil
}
