//go:build !linux && !darwin

package doctor

func addKernel(*Section) {}

func addLimits(*Section) {}
