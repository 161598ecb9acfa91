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

// pack puts some rows side by side: column after column of them, with zeros for rows
// that are not there.
func pack[T Number](packed []float64, m Rows[T], panel, width, from, to int) {
	depth := to - from
	out := packed[panel*width*depth:][:width*depth]
	for i := range width {
		if at := panel*width + i; at < m.Count {
			for k, v := range m.Data[at*m.Stride+from : at*m.Stride+to] {
				out[k*width+i] = float64(v)
			}
		} else {
			for k := range depth {
				out[k*width+i] = 0
			}
		}
	}
}
