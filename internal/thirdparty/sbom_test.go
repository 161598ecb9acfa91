package thirdparty

import (
	"bytes"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var sample = &debug.BuildInfo{
	GoVersion: "go1.26.8",
	Deps: []*debug.Module{
		{Path: "git.sr.ht/~sbinet/gg", Version: "v0.7.0", Sum: "h1:x="},
		{Path: "example.org/unknown", Version: "v1.0.0+incompatible"},
	},
	Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "-ldflags", Value: "-X secret=1"},
		{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}},
}

func TestSBOM(t *testing.T) {
	var out, again bytes.Buffer
	runtime := TensorFlow{Version: "2.21.0", Libraries: []Library{{"libtensorflow_cc.so.2", strings.Repeat("ab", 32)}}}
	require.NoError(t, WriteSBOM(&out, sample, runtime))
	require.NoError(t, WriteSBOM(&again, sample, runtime))
	assert.Equal(t, out.String(), again.String(), "it is not the same every time")
	assert.NotContains(t, out.String(), "secret")

	var bom cyclonedx.BOM
	require.NoError(t, cyclonedx.NewBOMDecoder(&out, cyclonedx.BOMFileFormatJSON).Decode(&bom))
	assert.Equal(t, cyclonedx.SpecVersion1_6, bom.SpecVersion)
	assert.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, bom.SerialNumber)
	assert.Equal(t, "2026-01-02T03:04:05Z", bom.Metadata.Timestamp)
	found := map[string]cyclonedx.Component{}
	for _, c := range *bom.Components {
		found[c.PackageURL] = c
	}
	assert.Equal(t, "Go's standard library", found["pkg:golang/std@1.26.8"].Description)
	assert.Equal(t, "MIT", (*found["pkg:golang/git.sr.ht/%7Esbinet/gg@v0.7.0"].Licenses)[0].License.ID)
	assert.Nil(t, found["pkg:golang/example.org/unknown@v1.0.0%2Bincompatible"].Licenses)
	tensorflow := found["pkg:pypi/tensorflow-cpu@2.21.0"]
	assert.Equal(t, "Apache-2.0", (*tensorflow.Licenses)[0].License.ID)
	assert.Equal(t, strings.Repeat("ab", 32), (*(*tensorflow.Components)[0].Hashes)[0].Value)
	assert.Len(t, *(*bom.Dependencies)[0].Dependencies, len(*bom.Components))
}

func TestNotices(t *testing.T) {
	require.NotEmpty(t, Modules())
	for _, m := range Modules() {
		assert.Contains(t, Notices(), "### "+m.Path+" "+m.Version+"\n")
		assert.NotEmpty(t, m.License, m.Path)
	}
	for _, words := range []string{"WordNet", "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
		"The Go Authors", "THIRD_PARTY_NOTICES.txt"} {
		assert.Contains(t, Notices(), words)
	}
}
