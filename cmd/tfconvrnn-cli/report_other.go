//go:build !linux && !darwin

package main

func addKernel(*reportSection) {}

func addLimits(*reportSection) {}
