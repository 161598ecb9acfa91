package main

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ruled returns a command with flags of each kind, and rules for them.
func ruled() (cmd *cobra.Command, words *[]string, count *int, size *int64) {
	cmd, words, count, size = &cobra.Command{Use: "x"}, &[]string{"c"}, new(int), new(int64)
	cmd.Flags().String("out", "", "")
	cmd.Flags().Bool("a", false, "")
	cmd.Flags().Bool("b", false, "")
	cmd.Flags().String("table", "", "")
	addList(cmd, words, "words", "", "c", "d", "e")
	addCount(cmd, count, "count", 7, 2, "")
	addSize(cmd, size, "size", "8GB", 1000, "")
	obey(cmd, needed("out", "where to?"), notBoth("a", "b"))
	obey(cmd, goesWith("a", "table"), differ("out", "table"), onlyFor("many", func() bool { return *count > 9 }, "size"))
	return cmd, words, count, size
}

func TestRules(t *testing.T) {
	for _, of := range []struct {
		args []string
		err  string
	}{
		{nil, "where to?"},
		{[]string{"--out="}, "where to?"},
		{[]string{"--out=x"}, ""},
		{[]string{"--out=x", "--a", "--b"}, "give --a or --b, not both"},
		{[]string{"--out=x", "--a", "--b=false"}, ""},
		{[]string{"--out=x", "--table=y"}, "--table goes with --a"},
		{[]string{"--out=x", "--table=y", "--a"}, ""},
		{[]string{"--out=x", "--table=./x", "--a"}, "--out and --table name the same file, x"},
		{[]string{"--out=x", "--size=1MB"}, "--size is for many"},
		{[]string{"--out=x", "--size=1MB", "--count=10"}, ""},
	} {
		cmd, _, _, _ := ruled()
		require.NoError(t, cmd.ParseFlags(of.args))
		err := cmd.PreRunE(cmd, nil)
		if of.err == "" {
			assert.NoError(t, err, "%q", of.args)
			continue
		}
		assert.EqualError(t, err, of.err, "%q", of.args)
		assert.Equal(t, exitUsage, exitCode(t.Context(), err))
	}
}

func TestKindsOfFlags(t *testing.T) {
	cmd, words, count, size := ruled()
	assert.Equal(t, []string{"[c]", "7", "8GB"}, []string{cmd.Flag("words").DefValue, cmd.Flag("count").DefValue,
		cmd.Flag("size").DefValue})
	assert.Equal(t, []any{7, int64(8e9)}, []any{*count, *size})
	require.NoError(t, cmd.ParseFlags([]string{"--words=d, ,e", "--words=c", "--count=2", "--size=1kB"}))
	assert.Equal(t, []string{"d", "e", "c"}, *words)
	assert.Equal(t, "d,e,c", cmd.Flag("words").Value.String())
	assert.Equal(t, []any{2, int64(1000)}, []any{*count, *size})
	for wrong, message := range map[string]string{
		"--words=f": `"f" is none of c, d, e`, "--count=1": "it is at least 2", "--count=many": "it is a number",
		"--size=much": "it is a size such as 8GB", "--size=999": "it is at least 1000 B", "--size=99EB": "it is a size",
	} {
		assert.ErrorContains(t, cmd.ParseFlags([]string{wrong}), message, wrong)
	}
	assert.Equal(t, []any{2, int64(1000)}, []any{*count, *size})
}
