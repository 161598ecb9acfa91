package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUpToDate: what is committed names the modules that are linked, and holds the
// licences in them.
func TestUpToDate(t *testing.T) {
	files, err := generate("..", "../../..")
	require.NoError(t, err)
	require.Len(t, files, 2)
	for name, want := range files {
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		if string(want) != string(got) { // the difference would be long
			assert.Fail(t, name+" is out of date; run go generate ./internal/thirdparty")
		}
	}
}

func TestIdentify(t *testing.T) {
	bsd := "Redistribution and use in source\nand binary forms, with or without modification"
	for text, want := range map[string][]string{
		bsd: {"BSD-2-Clause"},
		bsd + " nor the names of its\ncontributors may be used to endorse or promote products": {
			"BSD-3-Clause"},
		"Permission is hereby granted, free of charge, … The above copyright notice\nand this permission notice shall …": {
			"MIT"},
		"All rights reserved.": nil,
	} {
		assert.Equal(t, want, identify(text), text)
	}
}

func TestUnknownLicenceIsAnError(t *testing.T) {
	m := &licensed{texts: map[string]string{"LICENSE": "Ask me."}}
	m.Path = "example.org/secret"
	_, err := m.expression()
	assert.ErrorContains(t, err, "example.org/secret")
}
