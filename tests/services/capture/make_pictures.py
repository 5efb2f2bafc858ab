"""Make the picture files that OpenCV can't write, and the tests decode: `python make_pictures.py FOLDER`.

Needs Pillow. Each shows the same dark L on light paper, 60 × 40 pixels; `light_` ones a light L.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60


def drawn() -> np.ndarray:
    """The L, 255 where there is ink."""
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    ink[6:34, 10:16] = ink[28:34, 10:40] = 255
    return ink


def mark_as_ycck(path: Path) -> None:
    """Says of a JPEG whose inks C, M and Y are in truth Y, Cb and Cr that they are."""
    content = bytearray(path.read_bytes())
    content[content.index(b"Adobe") + 11] = 2
    path.write_bytes(content)


def main() -> None:
    folder = Path(sys.argv[1])
    ink = drawn()
    paper = Image.fromarray(255 - ink)
    transparent = np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), ink])
    light = np.dstack([np.full((HEIGHT, WIDTH, 3), 255, np.uint8), ink])

    paper.convert("RGB").convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    bands = paper.convert("RGB").convert("YCbCr").split()
    Image.merge("CMYK", (*bands, Image.new("L", paper.size))).save(folder / "ycck.jpg", quality=95)
    mark_as_ycck(folder / "ycck.jpg")
    paper.convert("RGB").convert("CMYK").save(folder / "cmyk.tif")
    Image.fromarray(np.dstack([np.zeros_like(ink), ink]), "LA").save(folder / "grey_and_alpha.png")
    palette = Image.fromarray((ink > 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.save(folder / "palette.png", transparency=0)
    palette.save(folder / "palette.gif", transparency=0)
    paper.convert("1").save(folder / "one_bit.png")
    paper.convert("1").save(folder / "fax.tif", compression="group4")
    Image.fromarray((255 - ink).astype(np.float32) / 255).save(folder / "float.tif")
    first, second = Image.fromarray(transparent), Image.fromarray(light)
    for name in ("animated.png", "animated.webp", "animated.gif"):
        first.save(folder / name, save_all=True, append_images=[second])
    paper.save(folder / "still.avif")


if __name__ == "__main__":
    main()
