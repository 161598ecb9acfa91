package tfconvrnn_test

import (
	"fmt"
	"log"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// A presentation in milliseconds: the image comes on at 50 ms and goes off at 150 ms, before
// and after it is black.
func ExamplePresentationSpec() {
	model, err := savedmodels.Lookup("ugrnn_intermediate")
	if err != nil {
		log.Fatal(err)
	}
	black, err := tfconvrnn.ParseBlank("black", tfconvrnn.Preprocessing{})
	if err != nil {
		log.Fatal(err)
	}
	length := 255.0
	shown, rounded, err := tfconvrnn.PresentationSpec{
		OnMS: []float64{50}, OffMS: []float64{150}, TotalMS: &length, Round: true, Blank: black,
	}.Presentation(model)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rounded {
		fmt.Printf("%s: %v ms became %d ms\n", r.Of, r.Given, r.Milliseconds)
	}
	fmt.Println(shown)
	// Output:
	// total: 255 ms became 260 ms
	// episodes(times=26,on=5,off=15),blank=rgb(0,0,0)
}
