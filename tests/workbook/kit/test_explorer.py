"""The explorers without a browser: the shell on a toy, and the pure functions of each over their whole range."""

import io
from dataclasses import dataclass, fields

import ipywidgets as widgets
import pytest
from matplotlib import pyplot
from matplotlib.image import imread

from lorabook.errors import SettingError
from lorabook.workbook import explorers
from lorabook.workbook.explorers import Explorer
from lorabook.workbook.kit import figures
from lorabook.workbook.kit.check_boxes import CheckBoxes
from lorabook.workbook.kit.explorer import to_fast_png


@dataclass(frozen=True)
class Toy:
    height: int = 3
    loud: bool = False


class Drawn:
    """A figure function that keeps what it was asked for, and raises at some heights."""

    def __init__(self):
        self.asked: list = []

    def __call__(self, state, figure=None):
        self.asked.append((state, figure))
        if state.height == 8:
            raise SettingError("height is 8.", "Give another <b>one</b>.")
        if state.height == 9:
            return {}["missing"]
        figure = figure or figures.new_figure(3, 2)[0]
        figure.clear()
        figure.add_subplot().bar(["toy"], [state.height])
        return figure


def said(state: Toy) -> str:
    return f"<i>{state.height}</i>\nloud: {state.loud}"


class ToyExplorer(Explorer):
    def __init__(self):
        self.drawn = Drawn()
        height = widgets.IntSlider(description="height", min=0, max=9)
        controls = {"height": height, "loud": widgets.Checkbox(description="loud")}
        presets = {"low": Toy(1), "high": Toy(7, True)}
        super().__init__(controls, Toy(), self.drawn, said, presets, (300, 200))


def tree(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from tree(child)


def buttons(explorer) -> dict:
    return {w.description: w for w in tree(explorer) if isinstance(w, widgets.Button)}


class TestShell:
    @pytest.fixture
    def toy(self) -> ToyExplorer:
        return ToyExplorer()

    def test_a_move_changes_state_picture_and_text(self, toy):
        first = toy.picture.value
        toy.controls["height"].value = 5
        assert toy.state == Toy(5) and toy.picture.value != first
        assert "&lt;i&gt;5&lt;/i&gt;\nloud: False" in toy.text.value and "<i>" not in toy.text.value
        toy.controls["height"].value = 3
        assert toy.picture.value == first

    def test_the_picture_has_the_size_that_the_widget_keeps_for_it(self, toy):
        assert imread(io.BytesIO(toy.picture.value)).shape[:2] == (200, 300)
        assert (toy.picture.layout.width, toy.picture.layout.height) == ("300px", "auto")

    def test_fifty_events_draw_on_one_figure_and_leave_none_open(self, toy):
        for i in range(50):
            toy.controls["height"].value = i % 7
        assert len(toy.drawn.asked) == 51
        assert len({id(figure) for _, figure in toy.drawn.asked}) == 1
        assert pyplot.get_fignums() == []

    def test_setting_the_state_draws_once_and_the_same_state_not_at_all(self, toy):
        toy.state = Toy(6, True)
        assert [state for state, _ in toy.drawn.asked] == [Toy(), Toy(6, True)]
        toy.state = Toy(6, True)
        assert len(toy.drawn.asked) == 2

    def test_presets_are_buttons(self, toy):
        buttons(toy)["high"].click()
        assert toy.state == Toy(7, True) and "loud: True" in toy.text.value

    @pytest.mark.parametrize(
        ("height", "shown"),
        [(8, "height is 8. Give another &lt;b&gt;one&lt;/b&gt;."), (9, "KeyError: &#x27;missing&#x27;")],
    )
    def test_what_drawing_raises_is_shown_until_the_next_change(self, toy, height, shown):
        toy.controls["height"].value = height
        assert shown in toy.error.value and toy.error.layout.display is None
        assert toy.picture.layout.visibility == "hidden" and toy.text.value == ""
        toy.controls["height"].value = 3
        assert toy.error.layout.display == "none" and toy.picture.layout.visibility is None
        assert "3" in toy.text.value

    def test_a_fault_names_its_place(self, toy):
        toy.controls["height"].value = 9
        assert "at test_explorer.py line " in toy.error.value

    def test_a_state_that_cannot_be_made_is_shown(self, toy, monkeypatch):
        monkeypatch.setattr(Toy, "__init__", lambda self, **values: 1 / 0)
        toy.controls["height"].value = 4
        assert "ZeroDivisionError" in toy.error.value

    def test_the_text_that_nbval_compares_is_short_and_stable(self, toy):
        before = toy._repr_mimebundle_()["text/plain"] if hasattr(toy, "_repr_mimebundle_") else repr(toy)
        toy.controls["height"].value = 5
        assert before == repr(toy) == "ToyExplorer()"

    def test_the_static_version_shows_the_default_state(self, toy, monkeypatch):
        shown = []
        monkeypatch.setattr(figures, "show", lambda figure, text: shown.append((figure, text)))
        toy.controls["height"].value = 5
        toy.show_static()
        ((figure, text),) = shown
        assert text == "<i>3</i>\nloud: False"
        assert figure is not toy.drawn.asked[0][1] and figure.axes[0].patches[0].get_height() == 3


# Every explorer

MADE = [getattr(explorers, name) for name in explorers.__all__ if name != "Explorer"]
# A list or radio buttons would lose the arrow keys to the notebook that they stand in (see test_browser_explorers.py).
SLIDERS = (widgets.SelectionSlider, widgets.IntSlider, widgets.FloatSlider)
BY_KEYBOARD = (*SLIDERS, widgets.ToggleButtons, widgets.Checkbox, CheckBoxes)


@pytest.mark.parametrize("made", MADE)
class TestEveryExplorer:
    def test_its_controls_are_described_and_work_from_the_keyboard(self, made):
        explorer = made()
        assert list(explorer.controls) == [field.name for field in fields(explorer.default)]
        for control in explorer.controls.values():
            assert control.description and isinstance(control, BY_KEYBOARD)

    def test_it_has_core_widgets_and_no_output(self, made):
        for widget in tree(made()):
            assert isinstance(widget, (Explorer, CheckBoxes)) or type(widget).__module__.startswith("ipywidgets.")
            assert not isinstance(widget, widgets.Output)

    def test_it_starts_at_its_default_without_an_error_and_takes_every_preset(self, made):
        explorer = made()
        assert explorer.state == explorer.default and explorer.error.layout.display == "none"
        for button in buttons(explorer).values():
            button.click()
            assert explorer.error.layout.display == "none" and explorer.text.value

    def test_it_shows_what_its_pure_functions_give(self, made):
        explorer = made()
        for button in buttons(explorer).values():
            button.click()
            fresh = explorer.figure(explorer.state, None)
            assert explorer.picture.value == to_fast_png(fresh), "the figure keeps something of earlier drawings"
