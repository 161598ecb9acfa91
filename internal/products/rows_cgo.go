//go:build cgo

package products

// #cgo CFLAGS: -O3 -std=gnu11 -Wno-psabi
// #include "products.h"
import "C"

// rows adds the products of panels of a, step numbers apart, so many rows, with one panel of b, of which so
// many columns count, to c.
func rows(a []float64, count, step int, b []float64, columns, depth int, c []float64, stride int) {
	C.tfconvrnn_products_rows((*C.double)(&a[0]), C.long(count), C.long(step), (*C.double)(&b[0]), C.long(columns),
		C.long(depth), (*C.double)(&c[0]), C.long(stride))
}

// pack puts some rows side by side: column after column of them, with zeros for rows
// that are not there.
func pack[T Number](packed []float64, m Rows[T], panel, width, from, to int) {
	depth := to - from
	count := min(width, m.Count-panel*width)
	out := (*C.double)(&packed[panel*width*depth : (panel+1)*width*depth][0])
	// The last of the rows ends where its stride may not.
	data := m.Data[panel*width*m.Stride+from : (panel*width+count-1)*m.Stride+to]
	switch first := any(&data[0]).(type) {
	case *float64:
		C.tfconvrnn_products_pack(out, (*C.double)(first), C.long(count), C.long(m.Stride), C.long(width), C.long(depth))
	case *float32:
		C.tfconvrnn_products_pack_floats(out, (*C.float)(first), C.long(count), C.long(m.Stride), C.long(width),
			C.long(depth))
	}
}
