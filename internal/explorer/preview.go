package explorer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"strconv"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// pictureInfo says what became of a picture, in the header Picture-Info of its preview.
type pictureInfo struct {
	Width   int      `json:"width"`
	Height  int      `json:"height"`
	Format  string   `json:"format"`
	Remarks []string `json:"remarks"`
}

// decodedAtOnce bounds the pictures that are decoded at once: a large one takes half a gigabyte meanwhile.
const decodedAtOnce = 2

// preprocessing is that of extract.
var preprocessing = func() images.Preprocessing {
	p, err := images.ParsePreprocessing(tfconvrnn.DefaultPreprocessing)
	if err != nil {
		panic("explorer: " + err.Error()) // a test would see it
	}
	return p
}()

// prepare decodes a picture file and returns the 224×224×3 values that models see.
func (x *Explorer) prepare(ctx context.Context, data []byte, name string) ([]uint8, *pictureInfo, error) {
	select {
	case x.decoding <- struct{}{}:
		defer func() { <-x.decoding }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if len(data) == 0 {
		return nil, nil, faultf(http.StatusUnprocessableEntity, "%s is empty", name)
	}
	picture, err := images.DecodeBytes(data, name, preprocessing.Options())
	if err != nil {
		return nil, nil, unusable(err)
	}
	pixels, err := preprocessing.Apply(picture)
	if err != nil {
		return nil, nil, unusable(fmt.Errorf("%s: %w", name, err))
	}
	info := &pictureInfo{Width: picture.Width, Height: picture.Height, Format: picture.Format, Remarks: []string{}}
	remark := func(message string) { info.Remarks = append(info.Remarks, message) }
	notices := images.Notices{Warn: remark, Note: remark}
	notices.Picture(name, picture, preprocessing)
	if picture.Orientation > 1 {
		remark(fmt.Sprintf("%s has an EXIF orientation, which is not applied: the models see it as it is stored", name))
	}
	return pixels, info, nil
}

// unusable is an error about a picture.
func unusable(err error) error {
	if errors.Is(err, images.ErrTooLarge) {
		return &fault{http.StatusRequestEntityTooLarge, err}
	}
	return &fault{http.StatusUnprocessableEntity, err}
}

// pixelImage is 224×224 RGB, which image/png writes without alpha.
type pixelImage []uint8

func (p pixelImage) ColorModel() color.Model { return color.RGBAModel }
func (p pixelImage) Bounds() image.Rectangle {
	return image.Rect(0, 0, tfconvrnn.ImageSize, tfconvrnn.ImageSize)
}
func (p pixelImage) Opaque() bool { return true }
func (p pixelImage) At(x, y int) color.Color {
	i := 3 * (y*tfconvrnn.ImageSize + x)
	return color.RGBA{p[i], p[i+1], p[i+2], 255}
}

// encodePNG returns pixels as a file that prepare reads back as they are.
func encodePNG(pixels []uint8) ([]byte, error) {
	var out bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, pixelImage(pixels))
	return out.Bytes(), err
}

// preview answers a picture with what the models see of it, as a PNG of 224×224.
func (x *Explorer) preview(w http.ResponseWriter, r *http.Request) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, x.options.MaxPictureBytes))
	if err != nil {
		return err
	}
	pixels, info, err := x.prepare(r.Context(), data, pictureName(r.URL.Query().Get("name")))
	if err != nil {
		return err
	}
	file, err := encodePNG(pixels)
	if err != nil {
		return err
	}
	about, err := json.Marshal(info)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Picture-Info", strconv.QuoteToASCII(string(about)))
	_, _ = w.Write(file)
	return nil
}

// pixelHash is the SHA-256 of a picture's pixels, in hexadecimal.
func pixelHash(pixels []uint8) string {
	sum := sha256.Sum256(pixels)
	return hex.EncodeToString(sum[:])
}

// pictureName is what a picture is called, cut where a name is no name.
func pictureName(name string) string {
	if name == "" {
		return "picture"
	}
	if runes := []rune(name); len(runes) > 200 {
		return string(runes[:200])
	}
	return name
}
