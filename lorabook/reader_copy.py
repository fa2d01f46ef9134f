"""A reader's copy of a notebook: not yet run, with no output that answers a question before the reader does."""

import re
from typing import Any

QUESTION = re.compile(r"^(?:questions\.\w+\(\)|predict\(|Board\(\))", re.MULTILINE)
HEADING = re.compile(r"^#{2,3} ", re.MULTILINE)


def unrun(cells: list[dict[str, Any]]) -> None:
    """Clear the outputs of a notebook's cells, in place, as its JSON or nbformat has them.

    What stays are the questions, and the pictures, but for those between a question and the next heading.
    """
    asked = False
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            question = bool(QUESTION.search(source))
            kept = [out for out in cell["outputs"] if question or (not asked and "image/png" in out.get("data", ()))]
            cell["outputs"], cell["execution_count"] = kept, None
            for out in kept:
                if "execution_count" in out:
                    out["execution_count"] = None
            asked = asked or question
        elif HEADING.search(source):
            asked = False
