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
