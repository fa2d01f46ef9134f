"""The explorers without a browser: the state, the static version, what is left without anywidget."""

import io
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace

import pytest
from PIL import Image

from lorabook.errors import SettingError
from lorabook.workbook.explorers import Explorer, LoRAExplorer
from lorabook.workbook.kit.controls import Control, buttons, check, slider
from scripts.assets.explorer_pictures import FOLDER, every_explorer, fingerprint

LARGEST = 150_000  # bytes of a static version


@dataclass(frozen=True)
class Toy:
    kind: str = "low"
    height: int = 3
    loud: bool = False
    parts: tuple[str, ...] = ("a",)


PARTS = {"low": {"a ×1": "a", "b ×2": "b"}, "high": {"b ×2": "b", "c ×1": "c"}}


def shown(state: Toy) -> dict:
    if state.height == 8:
        raise SettingError("height is 8.", "Give another <b>one</b>.")
    return {"title": "Toy", "readout": f"<i>{state.height}</i> </script>", "height": state.height}


class ToyExplorer(Explorer):
    def __init__(self):
        controls = {
            "kind": buttons("kind", {"low one": "low", "high one": "high"}),
            "height": slider("height", {str(i): i for i in range(9)}),
            "loud": check("loud"),
            "parts": Control("boxes", "parts", PARTS, by="kind", usual={"low": ("a",), "high": ("c",)}),
        }
        super().__init__("start/explorer.js", controls, Toy(), shown, {"tall": Toy(height=7)}, {"mark": "</script>"})


@pytest.fixture
def toy(monkeypatch) -> ToyExplorer:
    monkeypatch.setattr("lorabook.workbook.kit.explorer.picture_of", lambda name: b"a picture")
    return ToyExplorer()


class TestState:
    def test_it_is_set_and_read_and_observed(self, toy):
        seen = []
        toy.observe(lambda change: seen.append(change["new"]), names="state")
        toy.state = replace(toy.state, height=5, loud=True)
        assert toy.state == Toy(height=5, loud=True) == seen[0] and len(seen) == 1

    def test_a_move_in_the_browser_arrives_as_a_state(self, toy):
        """What ipywidgets does with a message: JSON in, JSON out."""
        toy.set_state({"state": {"kind": "high", "height": 1, "loud": True, "parts": ["b", "c"]}})
        assert toy.state == Toy("high", 1, True, ("b", "c"))
        assert toy.get_state("state")["state"] == asdict(toy.state)

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            (Toy(height=9), "height is 9. Choose among 0, 1, "),
            (Toy("middle"), "kind is 'middle'. Choose among 'low', 'high'."),
            (Toy("high", parts=("a",)), "parts is \\('a',\\). Choose among 'b', 'c'."),
            ({"height": 3}, "The state is {'height': 3}. Give a Toy."),
        ],
    )
    def test_what_no_control_offers_is_refused_and_the_state_stays(self, toy, state, message):
        with pytest.raises(SettingError, match=message):
            toy.state = state
        assert toy.state == Toy()

    def test_an_error_is_shown_in_place_of_a_picture(self, toy):
        assert toy.shown(Toy(height=8)) == {"error": "height is 8. Give another <b>one</b>."}

    def test_its_text_for_nbval_is_short_and_stable(self, toy):
        data = toy._repr_mimebundle_()
        data = data[0] if isinstance(data, tuple) else data
        toy.state = Toy(height=1)
        assert data["text/plain"] == repr(toy) == "ToyExplorer()"
        assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == toy.model_id


class TestStaticVersion:
    def test_it_shows_the_default_state_wherever_the_controls_are(self, toy, capsys):
        toy.state = Toy(height=5)
        found = toy.static_version()
        assert found["text/plain"] == "<i>3</i> </script>" and found["image/png"] == b"a picture"
        assert 'alt="&lt;i&gt;3&lt;/i&gt; &lt;/script&gt;"' in found["text/html"]

    def test_nothing_in_it_ends_its_script(self, toy):
        page = toy.static_html(b"")
        assert page.count("</script>") == 1 and page.endswith("</script>")
        (spec,) = re.findall(r"start\(explorer, (.*)\);\n</script>", page)
        assert json.loads(spec) == json.loads(json.dumps(toy.spec))


@pytest.mark.parametrize("explorer", every_explorer(), ids=lambda explorer: type(explorer).__name__)
class TestEveryExplorer:
    def test_a_control_is_described_for_each_field(self, explorer):
        assert list(explorer.controls) == [field.name for field in fields(explorer.default)]
        assert all(control.label for control in explorer.controls.values())

    def test_it_takes_every_preset(self, explorer):
        for values in explorer.spec["presets"].values():
            state = explorer.state_of(values)
            explorer.state = state
            said = explorer.shown(explorer.state)
            assert explorer.state == state and said["title"] and len(said["readout"].splitlines()) <= 4

    def test_its_static_version_is_small_and_asks_no_network_for_anything(self, explorer):
        page = explorer.static_version()["text/html"]
        assert len(page.encode()) <= LARGEST
        assert set(re.findall(r"https?://[^\s\"'`]+", page)) <= {"http://www.w3.org/2000/svg"}  # a name, not an address
        assert not re.search(r"\bimport\b|\bexport\b|\bfetch\(|XMLHttpRequest|@import|url\(", page)

    def test_its_picture_is_of_what_the_module_draws_now(self, explorer):
        """If this fails: python -m scripts.assets.explorer_pictures"""
        picture = Image.open(FOLDER / f"{type(explorer).__name__}.png")
        assert picture.info["source"] == fingerprint(explorer) and picture.width > 800

    def test_the_static_version_is_the_same_every_time(self, explorer):
        assert type(explorer)().static_html(b"") == explorer.static_html(b"")


@pytest.mark.seconds
def test_without_anywidget_the_static_version_takes_its_place():
    code = """
import sys
sys.modules["anywidget"] = None
import IPython.display
IPython.display.display = lambda what, raw: print(sorted(what), raw)
from lorabook.workbook.explorers import StartExplorer
explorer = StartExplorer()
explorer.state = type(explorer.state)(r=64)
explorer._ipython_display_()
print(explorer.state.r)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["['image/png', 'text/html', 'text/markdown', 'text/plain'] True", "64"]


def test_it_is_displayed_live_and_below_that_in_its_static_version(monkeypatch):
    import IPython.display

    displayed = []
    monkeypatch.setattr(IPython.display, "display", lambda what, raw=False: displayed.append((what, raw)))
    explorer = LoRAExplorer()
    explorer._ipython_display_()
    (live, _), (static, raw) = displayed
    assert live["text/plain"] == "LoRAExplorer()" and "application/vnd.jupyter.widget-view+json" in live
    assert raw and static.keys() == {"text/html", "text/markdown", "image/png", "text/plain"}
    assert static["text/markdown"] == f"*{explorer.shown(explorer.default)['readout']}*"
    assert Image.open(io.BytesIO(static["image/png"])).format == "PNG"
