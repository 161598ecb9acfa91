// Package images reads stimulus pictures and turns them into the 224×224 RGB
// arrays that the models take.
//
//	picture, err := images.Open("stimulus.jpg", images.Options{})
//	...
//	preprocessing, err := images.ParsePreprocessing("resize256-crop224+keep224")
//	...
//	pixels, err := preprocessing.Apply(picture) // 224·224·3 bytes
//
// The yardstick is Pillow, which the published models and most stimulus
// pipelines were run with: pixels are those of Image.open(path).convert("RGB")
// and Image.resize. Resampling is done in the same fixed-point arithmetic and
// chroma is interpolated as libjpeg and libwebp do it.
//
// It differs from Pillow in one respect on purpose: 16-bit grey pictures are
// scaled to 8 bits (the high byte is kept), where Pillow's conversion cuts
// everything above 255 to white. Files that Pillow refuses or misreads by mistake, such as
// big-endian BigTIFF, are read as their format says.
//
// Colour profiles are ignored, as Pillow ignores them. Everything is safe for
// concurrent use; there is no global state.
package images
