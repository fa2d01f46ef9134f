"""README's picture, `docs/notebooks.png`: two figures of the notebooks side by side, without a background.

python -m scripts.notebooks.readme_picture
"""

import base64
import io
from pathlib import Path

import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs/notebooks.png"
# Of each notebook the figure that is shown, by the beginning of the line that draws it.
SHOWN = {"07_many_tasks": "figures.habits(", "02_where_memory_goes": "figures.step_over_time("}
HEIGHT, GAP = 300, 24


def figure(notebook: str, drawn_by: str) -> Image.Image:
    """The figure that the one cell with `drawn_by` in it shows, `HEIGHT` high."""
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and drawn_by in cell.source]
    (png,) = [out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", ())]
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    figures = [figure(notebook, drawn_by) for notebook, drawn_by in SHOWN.items()]
    strip = Image.new("RGBA", (sum(f.width + GAP for f in figures) - GAP, HEIGHT))
    left = 0
    for each in figures:
        strip.paste(each, (left, 0))
        left += each.width + GAP
    few = strip.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)  # a chart has few colours
    few.save(PICTURE, optimize=True)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
