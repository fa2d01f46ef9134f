"""The page "More on fine-tuning": its tables are the stored results."""

from statistics import fmean

from lorabook.workbook.kit.side_by_side import short
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from tests.kit.notebooks import MORE_FINETUNE, table


def test_the_swap_is_a_mean_over_the_seeds():
    swaps, expected = stored("final_run", "question_swap"), []
    for count, runs in swaps["lora"].items():
        gains = (swaps["base"][which] - fmean(run[which] for run in runs) for which in ("own", "other"))
        expected.append([f"{int(count):,}", *(f"{gain:.3f}" for gain in gains)])
    assert table(MORE_FINETUNE, "SmolLM2 with another question") == expected


def test_the_article_s_settings_are_those_of_the_stored_runs():
    expected = []
    for name, label in (
        ("r = 16, α = 8, embeddings", "r = 16, α = 8, embeddings (the article)"),
        ("r = 16, α = 8", "r = 16, α = 8"),
        ("r = 16, α = 32", "r = 16, α = 32 (the rule)"),
    ):
        run = tuned_runs("pocket")[name]
        expected.append([label, f"{run.lr:g}", f"{min(run.losses):.3f}", f"{max(run.losses):.3f}"])
    assert table(MORE_FINETUNE, "The article's settings") == expected


def test_the_ten_answers_are_the_first_stored_ones():
    page = MORE_FINETUNE.read_text()
    section = page[page.index("## Ten answers of SmolLM2") :]
    expected = []
    for answer in stored("final_run", "smollm2_run")["answers"][:10]:
        assert f"**{answer['title']}**" in section
        for written in (answer["base"], answer["tuned"][0]):
            text = short(written["text"])
            expected.append(text if len(text) <= 300 else f"{text[:300].rstrip()} …")
    assert [part.strip("\n") for part in section.split("````")[1::2]] == [text.strip("\n") for text in expected]
