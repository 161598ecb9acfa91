#!/bin/sh
# Downloads the Go modules and checks them against go.sum.
set -eu
go mod download
go mod verify
