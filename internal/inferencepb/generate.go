// Package inferencepb holds the messages and the service of the Open Inference Protocol for
// gRPC. The names of its messages are the protocol's own: a program that links another copy of
// them as well does not start.
package inferencepb

//go:generate go run ./generate
