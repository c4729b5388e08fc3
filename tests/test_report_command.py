"""``diffkit compare`` and ``diffkit report`` on runs as their folders hold them, strangers' among them."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from diffkit import DiffkitError
from diffkit.cli.main import run as run_words

CONFIG = {
    "recipe": "spirals",
    "seed": 0,
    "out": "runs",
    "train": {"steps": 40},
    "sample": {"n": 4},
    "schedule": {"name": "cosine"},
    "net": {"name": "mlp", "width": 64},
    "data": {"name": "spirals"},
}
LOCK = {
    "diffkit": "0.1.0",
    "torch": "2.13.0+cpu",
    "platform": "Linux-6.1",
    "plugins": {},
    "components": {"net": {"name": "mlp", "package": "diffkit-nets", "version": "0.1.0", "sha256": "ab" * 32}},
}
HOSTILE = "\"'><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>{{ 7*7 }}</style>\x1b[31m"
VOID = {"meta", "img", "br", "hr", "input", "link"}


def logged(scale=1.0):
    return [
        {"step": step, "loss": scale / step, "grad_norm": 0.5, "lr": 1e-3, "steps_per_second": 10.0}
        for step in range(4, 41, 4)
    ]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that lays out a run's folder below an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def lay(name="runs/spirals/a", config=None, lines=None, samples=("step-00000040",), lock=LOCK):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(json.dumps({**CONFIG, **(config or {})}))
        (folder / "plugins.lock").write_text(json.dumps(lock))
        lines = logged() if lines is None else lines
        rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (folder / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows))
        for sampling in samples:
            place = folder / "samples" / sampling
            place.mkdir(parents=True)
            Image.new("RGB", (40, 30)).save(place / "sheet.png")
            Image.new("RGB", (8, 8)).save(place / "left_00000.png")
            (place / "right_00001.wav").write_bytes(b"RIFF")
            (place / "sampling.json").write_text(json.dumps({"n": 2, "seconds": 1.5, "frechet": 0.25}))
        return folder

    return lay


@pytest.fixture
def said(capsys):
    """Return a function that runs a command and returns what it printed."""

    def run(*words):
        assert run_words([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


class Page(HTMLParser):
    """A page that is well-formed, with its text, its tags, and every address in it."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.text, self.urls, self.attributes = [], [], [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        self.urls += [value for name, value in attributes if name in ("src", "href", "srcset", "poster", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def report(said, folder):
    said("report", folder)
    source = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert all(url.startswith("data:") for url in page.urls)
    assert not re.search(r"(url\(|@import)", source)
    assert "default-src 'none'" in source
    return page, " ".join(page.text)


def test_the_page_has_curves_samples_config_environment_and_commands(make, said):
    levels = {f"val_loss/{lam:+.2f}": 0.1 * lam for lam in (1.0, 2.0, 3.0)}
    lines = [*logged(), {"step": 20, "val_loss": 0.3, **levels}, {"step": 40, "val_loss": 0.2, **levels}]
    page, text = report(said, make(lines=lines, samples=("step-00000020", "step-00000040")))
    for words in ("Loss", "Validation loss by noise level", "Gradient norm", "Learning rate", "step 20", "step 40"):
        assert words in text
    for words in ("width", "64", "Linux-6.1", "diffkit-nets 0.1.0", "abababababab", "pip install", "net=mlp"):
        assert words in text
    assert page.tags.count("svg") == 6
    assert page.tags.count("audio") == 1
    assert sum(url.startswith("data:image/png") for url in page.urls) == 4
    sheet = next(url for url in page.urls if url.startswith("data:image/png"))
    assert base64.b64decode(sheet.partition(",")[2]).startswith(b"\x89PNG")


def test_samples_are_said_to_be_drawn_as_they_were_and_not_as_the_run_was_trained_to(make, said):
    run = make()
    _, text = report(said, run)
    assert "at step 40 · 1.5 s" in text
    drawn = {"sampler": {"name": "hein<b>"}, "grid": {"name": "karras"}, "guidance": None, "seconds": 2.5}
    (run / "samples/step-00000040/sampling.json").write_text(json.dumps(drawn))
    _, text = report(said, run)
    assert "at step 40 · hein<b> · karras · 2.5 s" in text


def test_what_was_made_of_files_is_shown_beside_the_samples_and_not_in_their_place(make, said):
    folder = make(samples=("step-00000040", "2026-11-25_07-51-12-inpaint", "2026-11-25_07-51-12-inpaint-2"))
    page, text = report(said, folder)
    assert "at step 40" in text
    assert "diffkit inpaint, 2026-11-25_07-51-12-inpaint-2" in text
    assert page.tags.count("h2") == 6
    assert "invert" not in text


def test_every_value_that_is_logged_has_a_chart(make, said):
    page, text = report(said, make(lines=[{"step": s, "loss": 1.0, "my_own": s, "tflops": 2.0} for s in (1, 2)]))
    assert "my_own" in text
    assert page.tags.count("svg") == 3


def test_words_of_a_stranger_are_shown_as_words(make, said):
    config = {"recipe": HOSTILE, "net": {"name": HOSTILE, HOSTILE: [HOSTILE]}, HOSTILE: {HOSTILE: HOSTILE}}
    component = {"name": HOSTILE, "package": HOSTILE, "version": HOSTILE, "sha256": HOSTILE}
    lock = {"torch": HOSTILE, HOSTILE: HOSTILE, "components": {HOSTILE: component}}
    folder = make(config=config, lock=lock, lines=[{"step": 1, "loss": 1.0, HOSTILE: 2.0, "val_loss/" + HOSTILE: 1.0}])
    Image.new("RGB", (8, 8)).save(folder / "samples/step-00000040" / "<b onclick=alert(3)>&_00003.png")
    _, text = report(said, folder)
    assert text.count("<script>alert(1)</script>") > 8
    assert "<b onclick=alert(3)>&" in text
    assert "{{ 7*7 }}" in text
    assert "\x1b" not in text


def test_no_secret_gets_into_a_page_or_a_table(make, said, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "hunter2hunter2")
    monkeypatch.setenv("PLAIN_VARIABLE", "only-in-the-environment")
    tracker = {"name": "mlflow", "uri": "https://me:swordfish@host/x", "token": "t0ps3cret"}
    config = {"tracker": tracker, "data": {"name": "spirals", "path": "/x/hunter2hunter2"}}
    one, two = make("runs/s/a", config), make("runs/s/b")
    report(said, one)
    written = (one / "report.html").read_text()
    for shown in (written, said("compare", one, two), said("compare", one, two, "--json")):
        assert not re.search("hunter2|only-in-the|swordfish|t0ps3cret", shown)
    assert "https://(hidden)@host/x" in written


def test_links_to_files_of_others_are_not_followed(make, said, tmp_path):
    folder = make()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "private.png")
    (folder / "samples/step-00000040/mine_00005.png").symlink_to(tmp_path / "private.png")
    (folder / "samples/other").symlink_to(tmp_path)
    page, _ = report(said, folder)
    private = base64.b64encode((tmp_path / "private.png").read_bytes()).decode()
    assert not [url for url in page.urls if private in url]


def test_unreadable_lines_are_skipped_and_counted(make, said):
    lines = [*logged(), "{", '{"step": "x"}', "[1]", '{"step": 41, "loss": NaN}', "[" * 100_000, '{"loss": 1}', "\0"]
    folder = make(lines=lines)
    assert "6 lines of metrics.jsonl are unreadable" in said("report", folder)
    assert "note" in said("compare", folder, make("runs/s/b"))


def test_the_command_of_a_real_run_composes_to_its_config(trained, said, tmp_path):
    said("report", trained, tmp_path / "page.html")
    text = " ".join(Page((tmp_path / "page.html").read_text()).text)
    command = re.search(r"diffkit recipe=\S.*", text)[0].split()
    assert "recipe=spirals" in command
    assert "train.steps=30" in command
    assert "device=cpu" in command
    assert "net=dense" not in command, "the recipe says so already"
    assert "could not be tried out" not in text


def test_a_run_that_cannot_be_composed_here_says_so(make, said):
    _, text = report(said, make(config={"net": {"name": "of_another_planet", "width": 3}}))
    assert "could not be tried out" in text
    assert "net=of_another_planet" in text


def test_compare_shows_what_differs_and_marks_the_best(make, said):
    make("runs/s/a")
    make("runs/s/b", {"net": {"name": "mlp", "width": 128}}, logged(2.0))
    table = said("compare", "runs/s/a", "runs/s/b")
    rows = {line.split("  ")[0]: line.split() for line in table.splitlines()}
    assert rows["net.width"][1:] == ["64", "128"]
    assert "net" not in rows
    assert "seed" not in rows
    assert rows["loss, best"][2:] == ["0.025", "*", "0.05"]
    assert rows["steps"][1:] == ["40", "40"]
    assert rows["seconds"][1:] == ["4", "4"]
    assert rows["samples, frechet"][2:] == ["0.25", "0.25"]


def test_compare_gives_a_program_all_of_it(make, said):
    one, two = make("runs/s/a"), make("runs/s/b", {"seed": 1}, logged(2.0))
    found = json.loads(said("compare", one, two, "--json"))
    assert found["differ"] == ["seed"]
    assert [run["config"] for run in found["runs"]] == [{"seed": 0}, {"seed": 1}]
    assert found["runs"][1]["results"]["loss, last"] == 2.0 / 40


def test_compare_counts_the_parameters_of_a_real_run(trained, make, said):
    found = json.loads(said("compare", trained, make(), "--json"))
    assert found["runs"][0]["results"]["parameters"] > 100
    assert "parameters" not in found["runs"][1]["results"]


def test_compare_takes_a_sweep_in_the_order_of_its_numbers(make, said):
    for number in (0, 10, 9):
        make(f"runs/sweeps/x/{number}", {"seed": number})
    found = json.loads(said("compare", "runs/sweeps/x", "--json"))
    assert [run["config"]["seed"] for run in found["runs"]] == [0, 9, 10]
    assert said("compare", "runs/sweeps/x").splitlines()[0].split() == ["run", "0", "9", "10"]


def test_compare_draws_every_curve_of_every_run(make, said):
    make("runs/s/a")
    make("runs/s/b", lines=[{"step": 1, "loss": 2.0}, {"step": 5, "loss": 1e-4, "tflops": 1.0}])
    said("compare", "runs/s/a", "runs/s/b", "--png", "curves.png")
    with Image.open("curves.png") as picture:
        colours = {colour for _, colour in picture.getcolors(1 << 24)}
        assert picture.width > 1000
    assert {(47, 111, 222), (217, 89, 43)} <= colours, "the colours of the first run and of the second"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compare"], "needs two or more runs, not 0"),
        (["compare", "runs/s/a"], "diffkit report runs/s/a"),
        (["compare", "runs/s/a", "runs/s/a"], "needs two or more runs, not 1"),
        (["compare", "runs/s/a", "nowhere"], "nowhere is not a run"),
        (["compare", "runs/s/a", "runs/s/empty"], "has logged no numbers yet"),
        (["compare", "runs/s/a", "--pgn"], "does not know '--pgn'"),
        (["compare", "runs/s/a", "--png"], "--png needs a file"),
        (["compare", "runs/s/a", "runs/s/b", "--png", "no/where.png"], "cannot be written"),
        (["report"], "diffkit report last"),
        (["report", "runs"], "is not a run"),
        (["report", "runs/s/empty"], "has logged no numbers yet"),
        (["report", "runs/s/a", "no/where.html"], "cannot be written"),
        (["report", "runs/s/a", "--open"], "needs a run and takes a file"),
    ],
    ids=lambda value: "-".join(value).replace("/", "") if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_in_a_sentence(make, words, expected):
    make("runs/s/a")
    make("runs/s/b")
    make("runs/s/empty", lines=[])
    with pytest.raises(DiffkitError, match=expected) as caught:
        run_words(words)
    assert "\n" not in str(caught.value)
