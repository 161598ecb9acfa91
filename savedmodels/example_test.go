package savedmodels_test

import (
	"fmt"
	"log"

	"github.com/tfconvrnn/go/savedmodels"
)

// The layers that match inferior temporal cortex, and the readout.
func ExampleModel_SelectLayers() {
	model, err := savedmodels.Lookup("ugrnn_intermediate")
	if err != nil {
		log.Fatal(err)
	}
	layers, err := model.SelectLayers([]string{"imnetds"}, []string{"IT"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(layers)
	// Output: [imnetds conv7 conv8 conv9 conv10]
}
