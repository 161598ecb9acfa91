// Command photographs makes a folder of many different photographs, as JPEG files,
// from those of testdata/pictures: square cut-outs of random places and sizes. They are
// the same every time.
//
// usage: go run ./scripts/photographs FOLDER COUNT
package main

import (
	"bufio"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	_ "image/png"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: photographs FOLDER COUNT")
	}
	count, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = run(os.Args[1], count)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(folder string, count int) error {
	paths, err := filepath.Glob("testdata/pictures/*")
	if err != nil {
		return err
	}
	var pictures []image.Image
	for _, path := range paths {
		picture, err := read(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		pictures = append(pictures, picture)
	}
	if len(pictures) == 0 {
		return fmt.Errorf("no pictures in testdata/pictures; run this in the repository's root")
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range count {
		if err := write(filepath.Join(folder, fmt.Sprintf("photograph%05d.jpg", i)),
			cutOut(pictures[i%len(pictures)], random)); err != nil {
			return err
		}
	}
	return nil
}

func cutOut(picture image.Image, random *rand.Rand) image.Image {
	bounds := picture.Bounds()
	side := 200 + random.IntN(min(bounds.Dx(), bounds.Dy())-200)
	from := bounds.Min.Add(image.Pt(random.IntN(bounds.Dx()-side+1), random.IntN(bounds.Dy()-side+1)))
	square := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(square, square.Bounds(), picture, from, draw.Src)
	return square
}

func read(path string) (image.Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	picture, _, err := image.Decode(bufio.NewReader(file))
	return picture, err
}

func write(path string, picture image.Image) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := jpeg.Encode(file, picture, &jpeg.Options{Quality: 90}); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
