"""Put a report's image panels side by side for README.md: docs/images/panel.jpg.

morphobench evaluate --model trident && python scripts/readme_picture.py runs/sim/trident/report.html
"""

from __future__ import annotations

import argparse
import base64
import io
import re
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from morphobench.storage import atomic_path

OUT = Path(__file__).parents[1] / "docs" / "images" / "panel.jpg"
FIGURE = re.compile(r'<img[^>]*src="data:image/jpeg;base64,([^"]+)"')
CAPTION = re.compile(r"<figcaption[^>]*>(.*?)</figcaption>", re.DOTALL)
WIDTH = 1480
GAP = 10
HEADING = 34


def panels(page: str) -> list[tuple[str, Image.Image]]:
    """(caption, picture) of every image panel in a report, in order. The panels are the page's only JPEG pictures."""
    found = []
    for figure in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        picture, caption = FIGURE.search(figure), CAPTION.search(figure)
        if picture and caption:
            image = Image.open(io.BytesIO(base64.b64decode(picture.group(1))))
            found.append((re.sub(r"<[^>]+>|\s+", " ", caption.group(1)).strip(), image))
    return found


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    shown = panels(parser.parse_args().report.read_text(encoding="utf-8"))
    width = sum(image.width for _, image in shown) + GAP * (len(shown) - 1)
    canvas = Image.new("RGB", (width, HEADING * 2 + shown[0][1].height), "white")
    font = ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", HEADING)
    draw, left = ImageDraw.Draw(canvas), 0
    for caption, image in shown:
        draw.text((left, 8), caption, fill="black", font=font)
        canvas.paste(image, (left, HEADING * 2))
        left += image.width + GAP
    canvas = canvas.resize((WIDTH, round(canvas.height * WIDTH / width)), Image.Resampling.LANCZOS)
    with atomic_path(OUT) as temporary:
        canvas.save(temporary, format="JPEG", quality=88)


if __name__ == "__main__":
    main()
