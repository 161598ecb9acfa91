//go:build !cgo

package products

// rows does without a C compiler what that of rows_cgo.go does, slowly.
func rows(a []float64, count, step int, b []float64, columns, depth int, c []float64, stride int) {
	for i := range count {
		panel := a[i/rowsInBlock*step:]
		for j := range columns {
			sum := 0.0
			for k := range depth {
				sum += panel[k*rowsInBlock+i%rowsInBlock] * b[k*columnsInBlock+j]
			}
			c[i*stride+j] += sum
		}
	}
}
