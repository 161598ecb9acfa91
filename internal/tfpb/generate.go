// Package tfpb holds the TensorFlow protocol buffer messages that this project
// reads and writes. See tensorflow.proto for their origin.
package tfpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative tensorflow.proto
