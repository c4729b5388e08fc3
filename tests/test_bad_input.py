"""Bad input, through the installed command: one sentence on stderr, exit status 2, nothing written and nothing lost."""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from diffkit import DiffkitError, build, train
from diffkit.cli import main

COMMAND = str(Path(sys.executable).with_name("diffkit"))
QUICK = ("recipe=spirals", "train.steps=2", "train.log_every=1", "sample.n=1", "sampler.steps=1", "device=cpu")


@pytest.fixture
def refused(command, contents):
    """Return a function that runs a command, and checks that it is refused as a mistake should be."""

    def run(*words, said, keeps=None, **how):
        watched = [command.folder, *([keeps] if keeps else [])]
        before = [contents(folder) for folder in watched]
        done = command(*words, **how)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        assert done.returncode == 2, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert len(lines) == 1 and lines[0].startswith("diffkit: "), done.stderr
        for part in [said] if isinstance(said, str) else said:
            assert part in lines[0]
        assert [contents(folder) for folder in watched] == before, "nothing is written, nothing is lost"
        return lines[0]

    return run


@pytest.fixture
def refused_inside(tmp_path, monkeypatch, contents):
    """The same, through the function behind the command, in this process: a fraction of the time."""
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["diffkit"])

    def run(*words, said, keeps=None):
        watched = [folder, *([keeps] if keeps else [])]
        before = [contents(path) for path in watched]
        with pytest.raises(DiffkitError) as error:
            main.run([str(word) for word in words])
        line = str(error.value)
        assert "\n" not in line
        for part in [said] if isinstance(said, str) else said:
            assert part in line
        assert [contents(path) for path in watched] == before, "nothing is written, nothing is lost"
        return line

    return run


WORDS = {
    "a misspelt group": ("schdule=root", ["no 'schdule'", "did you mean 'schedule'", "groups: ", "sampler"]),
    "a misspelt name": (
        "schedule=rot",
        ["'rot' is not installed", "did you mean 'root'", "installed: ", "pip install"],
    ),
    "a misspelt option": ("net.widht=3", ["no option 'widht'", "did you mean 'width'", "its options: width"]),
    "an option its component does not have": ("sampler.eta=1", ["sampler 'midpoint' has no option 'eta'", "steps"]),
    "a wrong type": ("net.width=wide", "net.width is a whole number"),
    "an option out of range": ("net.width=0", ["net 'dense'", "width=0 must be at least 1"]),
    "steps=0": ("train.steps=0", "train.steps=0 is out of range; give 1 or more"),
    "a device there is not": ("device=abacus", "device=abacus is not on this machine"),
    "a required group emptied": ("~schedule", ["leaves the run without a schedule", "schedule=NAME"]),
    "code by its path": ("net._target_=os.system", "_target_"),
    "several values without a sweep": ("seed=1,2", "sweep over them with -m"),
    "a label out of range": ("sample.label=2", ["label 2 is not one of the 2", "left", "right"]),
    "a label by a wrong name": ("sample.label=rihgt", "did you mean 'right'"),
    "another modality": ("modality=image", ["data 'spirals' is of modality 'points', not 'image'"]),
    "a folder that is a file": ("out=/dev/null", ["/dev/null", "cannot be made", "out=FOLDER"]),
    "a folder that cannot be": ("out=/proc/runs", ["/proc/runs", "out=FOLDER"]),
    "an environment variable that is not set": ("net.width=${oc.env:SURELY_NOT_SET}", "SURELY_NOT_SET"),
}
MORE_WORDS = {
    "a misspelt group with a plus": ("+schdule=root", "did you mean 'schedule'"),
    "a misspelt recipe": ("recipe=spiral", ["did you mean 'spirals'", "digits"]),
    "a misspelt option with a plus": ("+net.widht=3", "did you mean 'width'"),
    "an option of a kind that is not chosen": ("guidance.scale=2", "choose one too: guidance=NAME"),
    "a misspelt key": ("train.stpes=3", "did you mean 'steps'"),
    "a misspelt key with a plus": ("+train.stpes=3", "did you mean 'steps'"),
    "a fraction for a whole number": ("train.steps=1.5", "train.steps=1.5 does not fit: train.steps is a whole number"),
    "sampler.steps=0": ("sampler.steps=0", ["sampler 'midpoint'", "steps=0"]),
    "a decay out of range": ("train.ema=1", "train.ema=1 is out of range"),
    "a batch of none": ("train.batch_size=0", "train.batch_size=0 is out of range"),
    "a precision there is not": ("precision=fp7", "give one of fp32, bf16"),
    "a required group set to null": ("net=null", "leaves the run without a net"),
    "a key taken away": ("~train.steps", "set it instead: train.steps=VALUE"),
    "code by its path with a plus": ("+data={_target_: os.system}", "_target_"),
    "code in Hydra's own part": ("hydra.job.x._target_=os.system", "_target_"),
    "no value at all": ("schedule", "'schedule' has no value; give it one: schedule=VALUE"),
    "brackets that do not close": ("seed=[1", "is not KEY=VALUE"),
    "a negative label": ("sample.label=-1", "label -1 is not one of the 2"),
    "a label of no kind at all": ("sample.label=1.5", "label 1.5"),
    "labels that are a mapping": ("sample.label={a: 1}", "label"),
    "guidance that the network cannot have": ("guidance=perturbed_attention", "perturbs attention, of which"),
    "a modality that is not installed": ("modality=smell", "modality 'smell' is not installed"),
}


@pytest.mark.parametrize(("word", "said"), WORDS.values(), ids=WORDS)
def test_a_mistake_in_a_word(refused, word, said):
    refused(*QUICK, word, said=said)


@pytest.mark.parametrize(("word", "said"), MORE_WORDS.values(), ids=MORE_WORDS)
def test_more_mistakes_in_a_word(refused_inside, word, said):
    refused_inside(*QUICK, word, said=said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trian",), "there is no command 'trian'"),
        (("sampel", "last"), "did you mean 'sample'"),
        (("sample",), "needs a run: its folder, or last"),
        (("sample", "sample.n=3"), "needs a run: its folder, or last"),
        (("sample", "last"), "there is no run under"),
        (("sample", "nowhere"), "nowhere is not a run (is not a folder)"),
        (("sample", "."), "is not a run (has no config.yaml)"),
        (("resume", "nowhere"), "nowhere is not a run"),
        (("plugins", "lits"), "type diffkit plugins list"),
        (("plugins", "info", "rot"), "did you mean 'root'"),
        (("plugins", "info"), "diffkit plugins info NAME"),
        (("doctor", "who"), "takes no words"),
        (("completion", "tcsh"), "bash, zsh or fish"),
        (("turns",), "needs a folder"),
    ],
)
def test_a_mistake_in_a_command(command, words, said):
    done = command(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("diffkit: ") and said in done.stderr and "Traceback" not in done.stderr
    assert not list(command.folder.iterdir())


class TestARun:
    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("sample.label=5", "label 5 is not one of the 2"),
            ("sampler=midpont", "did you mean 'midpoint'"),
            ("sampler.steps=0", "steps=0"),
            ("sample.n=0", "sample.n=0 is out of range"),
            ("net=dense", "diffkit sample cannot change 'net'"),
            ("device=abacus", "device=abacus is not on this machine"),
            ("surprise=1", "no 'surprise'"),
        ],
    )
    def test_cannot_be_sampled_with_a_mistake_in_a_word(self, refused_inside, trained, word, said):
        refused_inside("sample", trained, word, said=said, keeps=trained)

    def test_that_has_reached_its_last_step_says_how_to_go_further(self, refused, trained):
        refused("resume", trained, said=["has reached step 30 of 30", "train.steps=60"], keeps=trained)

    def test_whose_data_changed_cannot_be_resumed_with_other_data(self, refused, trained):
        refused("resume", trained, "data=digits", said="diffkit resume cannot change 'data'", keeps=trained)

    def test_whose_plugin_is_gone_names_the_package_and_version_to_install(self, refused, trained):
        for verb in ("sample", "resume"):
            said = ["'root' of diffkit-spirals", "not installed", "pip install diffkit-spirals==1.2.3"]
            refused(verb, trained, said=said, keeps=trained, env={"DIFFKIT_DISABLE_PLUGINS": "diffkit-spirals"})

    @pytest.mark.parametrize("verb", ["sample", "resume"])
    def test_whose_checkpoints_each_have_one_flipped_byte_is_refused_with_both_named(self, refused, trained, verb):
        for path in trained.glob("checkpoints/*/model.safetensors"):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        said = ["no valid checkpoint", "step-00000030 is damaged: model.safetensors", "step-00000020 is damaged"]
        refused(verb, trained, *(["train.steps=40"] if verb == "resume" else []), said=said, keeps=trained)

    def test_without_any_checkpoint_says_so(self, refused, trained):
        shutil.rmtree(trained / "checkpoints")
        refused("sample", trained, said="has no valid checkpoint; train longer", keeps=trained)

    @pytest.mark.parametrize(
        ("file", "text", "said"),
        [
            ("config.yaml", "", "is not the config of a run"),
            ("config.yaml", "{: [", "cannot be read as YAML"),
            ("config.yaml", "- a\n- b\n", "is not the config of a run"),
            ("config.yaml", "!!python/object/apply:os.system ['touch owned']", "cannot be read as YAML"),
            ("config.yaml", b"\xff\xfe\x00", "cannot be read as YAML"),
            ("data.json", "", "the run is damaged"),
            ("data.json", "[]", "the run is damaged"),
            ("data.json", "{}", "the run is damaged"),
            ("data.json", '{"data": 1, "latent": {}}', "the run is damaged"),
            ("plugins.lock", "{", "the run is damaged"),
            ("plugins.lock", '{"components": 5}', "the run is damaged"),
            ("plugins.lock", '{"components": {"net": {}}}', "the run is damaged"),
        ],
    )
    def test_with_a_damaged_file_is_refused_with_its_name(self, refused_inside, trained, file, text, said):
        (trained / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        refused_inside("sample", trained, said=[file, said], keeps=trained)

    @pytest.mark.parametrize(("verb", "kind", "option"), [("sample", "net", "width"), ("resume", "train", "steps")])
    def test_whose_config_reads_the_environment_is_refused(self, refused, trained, verb, kind, option):
        path = trained / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config[kind][option] = "${oc.env:SECRET}"
        path.write_text(yaml.safe_dump(config))
        line = refused(verb, trained, said="interpolation '${oc.env:SECRET}'", keeps=trained, env={"SECRET": "pa55"})
        assert "pa55" not in line

    def test_whose_config_names_code_by_its_path_is_refused(self, refused, trained):
        path = trained / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["net"]["_target_"] = "os.system"
        path.write_text(yaml.safe_dump(config))
        refused("sample", trained, said="_target_", keeps=trained)

    def test_whose_weights_are_those_of_another_network_is_refused(self, refused, trained):
        path = trained / "config.yaml"
        path.write_text(path.read_text().replace("width: 64", "width: 32"))
        refused("sample", trained, said=["do not fit the network", "config.yaml"], keeps=trained)


class TestAPluginThatIsBroken:
    @pytest.mark.parametrize(
        ("source", "why"),
        [
            ("raise RuntimeError('made for 0.0.1')", "RuntimeError: made for 0.0.1"),
            ("@hookimpl\ndef diffkit_schedules():\n    yield 'mine'", "yields 'mine'"),
            ("@hookimpl\ndef diffkit_shedules():\n    yield", "did you mean 'diffkit_schedules'"),
        ],
        ids=["fails at import", "yields the wrong type", "declares an unknown hook"],
    )
    def test_is_named_when_its_component_is_asked_for_and_hinders_nothing_else(
        self, refused, command, make_plugin, source, why
    ):
        folder = make_plugin("my-broken", source)
        refused(*QUICK, "schedule=mine", path=[folder], said=["'mine' is not installed", "broken: my-broken"])
        done = command(*QUICK, path=[folder])
        assert done.returncode == 0
        assert done.stderr.startswith("warning: plugin 'my-broken' is set aside: ") and why in done.stderr

    def test_two_with_one_name_are_both_named(self, refused, make_plugin):
        twin = "@hookimpl\ndef diffkit_schedules():\n    yield Component('twin', 'diffkit_spirals.model:Root')"
        make_plugin("first-pack", twin)
        folder = make_plugin("second-pack", twin)
        said = ["first-pack", "second-pack", "schedule=first-pack.twin or schedule=second-pack.twin"]
        refused(*QUICK, "schedule=twin", path=[folder], said=said)

    def test_a_schedule_that_is_not_monotone_is_refused_before_anything_is_written(
        self, refused_inside, make_plugin, install
    ):
        source = """
from diffkit_spirals.model import Root

class Up(Root):
    def lam(self, t):
        return super().lam(1 - t)

@hookimpl
def diffkit_schedules():
    yield Component("up", "up_pack:Up")
"""
        install(make_plugin("up-pack", source))
        refused_inside(*QUICK, "schedule=up", said=["schedule 'up' is not monotone", "after t=0,", "schedule=NAME"])

    def test_a_network_for_another_rank_is_refused_before_anything_is_written(self, refused, make_plugin):
        source = """
from torch import nn

class Flat(nn.Conv2d):
    def __init__(self, spec):
        super().__init__(spec.channels, spec.channels, 3, padding=1)

    def forward(self, x, lam, label=None):
        return super().forward(x)

@hookimpl
def diffkit_networks():
    yield Component("flat", "flat_pack:Flat")
"""
        refused(
            *QUICK, "net=flat", path=[make_plugin("flat-pack", source)], said="net 'flat' cannot take data of 2 x 8"
        )

    def test_a_network_that_returns_another_shape_is_refused_before_anything_is_written(self, refused, make_plugin):
        source = """
from torch import nn

class Short(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(nn.init.ones_(nn.Parameter(__import__("torch").ones(1))))

    def forward(self, x, lam, label=None):
        return x[:, :1] * self.weight

@hookimpl
def diffkit_networks():
    yield Component("short", "short_pack:Short")
"""
        said = ["net 'short' cannot take data of 2 x 8", "returns 1 x 8"]
        refused(*QUICK, "net=short", path=[make_plugin("short-pack", source)], said=said)


def obey_file_modes():
    """Let root, too, be refused what the modes of files refuse: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None)
        assert libc.prctl(24, 1, 0, 0, 0) == libc.prctl(24, 2, 0, 0, 0) == 0, "PR_CAPBSET_DROP"


class TestAFolderOfFiles:
    WORDS = ("recipe=images", "data.size=8", *QUICK[1:], "net=mlp", "net.width=8", "train.batch_size=2")

    @pytest.fixture
    def pictures(self, tmp_path):
        folder = tmp_path / "pictures"
        for name in ("cat", "dog"):
            (folder / name).mkdir(parents=True)
            for i in range(3):
                pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i}.png")
        return folder

    def test_that_is_not_there(self, refused, tmp_path):
        refused(*self.WORDS, f"data.path={tmp_path / 'gone'}", said=["gone is not a folder", "data.path=FOLDER"])

    def test_that_is_not_named(self, refused):
        refused(*self.WORDS, said=["needs data.path", "give it: data.path=VALUE"])

    def test_that_is_empty(self, refused, tmp_path):
        (tmp_path / "empty").mkdir()
        refused(*self.WORDS, f"data.path={tmp_path / 'empty'}", said=["empty has no files that can be read", ".png"])

    def test_that_may_not_be_read(self, refused, pictures):
        pictures.chmod(0o300)
        try:
            said = ["pictures cannot be read (Permission denied)", "permission"]
            refused(*self.WORDS, f"data.path={pictures}", said=said, preexec_fn=obey_file_modes)
        finally:
            pictures.chmod(0o700)

    def test_of_which_one_class_may_not_be_read(self, refused, pictures):
        (pictures / "dog").chmod(0o300)
        try:
            refused(*self.WORDS, f"data.path={pictures}", said="cannot be read", preexec_fn=obey_file_modes)
        finally:
            (pictures / "dog").chmod(0o700)

    def test_of_which_none_can_be_decoded(self, refused, tmp_path):
        folder = tmp_path / "broken"
        folder.mkdir()
        (folder / "a.png").write_bytes(b"")
        refused(*self.WORDS, f"data.path={folder}", said=["none of the 1 files", "a.png"])

    def test_with_bad_files_among_good_ones_is_trained_on_the_good_and_the_bad_are_counted_and_named(
        self, command, pictures
    ):
        good = (pictures / "cat/0.png").read_bytes()
        (pictures / "cat/zero.png").write_bytes(b"")
        (pictures / "cat/truncated.png").write_bytes(good[: len(good) // 2])
        (pictures / "dog/misnamed.png").write_text("these are words")
        (pictures / "dog/locked.png").write_bytes(good)
        (pictures / "dog/locked.png").chmod(0)
        done = command(*self.WORDS, f"data.path={pictures}", preexec_fn=obey_file_modes)
        assert done.returncode == 0, done.stderr
        assert "skipped 4 of 10 files" in done.stderr
        for name in ("cat/zero.png", "cat/truncated.png", "dog/misnamed.png", "dog/locked.png"):
            assert name in done.stderr
        assert "6 items" in done.stdout
        again = command(*self.WORDS, f"data.path={pictures}", preexec_fn=obey_file_modes)
        assert "skipped 4 of 10 files" in again.stderr, "said every time, not only when they are decoded"


class TestWriting:
    def test_into_a_folder_that_may_not_be_written(self, refused, tmp_path):
        folder = tmp_path / "read-only"
        folder.mkdir(mode=0o555)
        said = [str(folder), "Permission denied", "out=FOLDER"]
        refused(*QUICK, f"out={folder}", said=said, preexec_fn=obey_file_modes, keeps=folder)

    def test_samples_of_a_run_that_may_not_be_written(self, refused, trained):
        (trained / "samples").chmod(0o555)
        refused(
            "sample", trained, "sample.n=1", said=["samples", "Permission denied"], keeps=trained,
            preexec_fn=obey_file_modes,
        )  # fmt: skip

    @staticmethod
    def limited(size):
        """A limit on the size of a file, which fails a write as a full disk does."""
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def test_a_checkpoint_that_does_not_fit_ends_the_run_with_a_sentence_and_leaves_no_torn_one(self, command):
        done = command(*QUICK, preexec_fn=self.limited(10_000))
        lines = done.stderr.splitlines()
        assert done.returncode == 2, done.stderr
        assert len(lines) == 1 and "checkpoint step-00000002 could not be written (File too large" in lines[0]
        (config,) = command.folder.rglob("config.yaml")
        assert not list(config.parent.glob("checkpoints/*")) and not list(config.parent.glob("checkpoints/.*"))

    def test_a_checkpoint_that_does_not_fit_costs_none_of_the_older_ones(self, command, trained, contents):
        before = contents(trained / "checkpoints")
        done = command("resume", trained, "train.steps=40", preexec_fn=self.limited(10_000))
        assert done.returncode == 2
        assert contents(trained / "checkpoints") == before
        assert command("resume", trained, "train.steps=40").returncode == 0

    def test_samples_that_do_not_fit_leave_nothing_behind(self, refused, trained):
        said = ["samples cannot be written", "File too large"]
        refused("sample", trained, "sample.n=1", said=said, keeps=trained, preexec_fn=self.limited(100))

    def test_a_disk_that_is_full_from_the_start_leaves_no_folder_behind(self, command):
        done = command(*QUICK, preexec_fn=self.limited(100))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1 and "File too large" in done.stderr
        assert not list(command.folder.rglob("config.yaml"))
        assert not list(command.folder.rglob("plugins.lock"))

    def test_a_disk_that_is_really_full(self, tmp_path, outside_path, environment):
        """A file system of 100 kB in a mount namespace of its own; where the system refuses one, a limit on files."""
        disk = tmp_path / "disk"
        disk.mkdir()
        inside = 'mount -t tmpfs -o size=100k tmpfs "$1" && cd "$1" && shift && "$@"; status=$?; find .; exit $status'
        how = ["unshare", "-rm", "sh", "-c", inside, "sh", str(disk)]
        mounts = shutil.which("unshare") and subprocess.run([*how, "true"], capture_output=True).returncode == 0
        done = subprocess.run(
            [*(how if mounts else []), COMMAND, *QUICK], cwd=disk, env=environment(outside_path), capture_output=True,
            text=True, preexec_fn=None if mounts else self.limited(10_000),
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1 and "could not be written" in done.stderr
        assert "No space left on device" in done.stderr if mounts else "File too large" in done.stderr
        assert "/step-" not in done.stdout.replace("/samples/step-", ""), "no torn checkpoint"

    def test_output_to_a_full_device_is_one_sentence_too(self, outside_path, environment):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [COMMAND, "plugins", "list"],
                env=environment(outside_path),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == 2
        assert done.stderr.startswith("diffkit: No space left on device") and done.stderr.count("\n") == 1


class TestTwoAtOnce:
    def test_two_resumptions_of_one_run_do_not_mix(self, refused, trained, outside_path, environment):
        words = [COMMAND, "resume", trained, "train.steps=100000", "train.save_every=0", "train.log_every=10"]
        with subprocess.Popen(words, env=environment(outside_path), stdout=subprocess.PIPE, text=True) as first:
            assert "from step 30" in first.stdout.readline()
            refused("resume", trained, "train.steps=40", said="another process is training in")
            first.terminate()
            said = first.communicate(timeout=120)[0]
        assert "everything is saved" in said
        steps = [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
        assert steps == sorted(set(steps))

    def test_two_runs_started_in_the_same_second_get_a_folder_each(self, command, outside_path, environment):
        started = [
            subprocess.Popen(
                [COMMAND, *QUICK], cwd=command.folder, env=environment(outside_path), stdout=subprocess.PIPE
            )
            for _ in range(3)
        ]
        assert [process.wait(timeout=240) for process in started] == [0, 0, 0]
        assert [process.stdout.close() for process in started]
        runs = [path.parent for path in command.folder.rglob("config.yaml")]
        assert len(runs) == 3
        assert all((run / "samples/step-00000002/sheet.png").exists() for run in runs)

    def test_a_sweep_into_a_folder_that_holds_runs_overwrites_none(self, command, contents):
        words = ("-m", *QUICK, "hydra.sweep.dir=mine", "seed=0,1")
        assert command(*words).returncode == 0
        before = contents(command.folder / "mine")
        assert command(*words).returncode == 0
        after = contents(command.folder / "mine")
        assert {path: after[path] for path in before} == before
        assert len(list((command.folder / "mine").rglob("config.yaml"))) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["device=meta"], r"device=meta is not on this machine \(it holds no values\)"),
        (["train.held_out=1"], r"train.held_out=1.0 leaves nothing to train on"),
        (["tracker=csv", "tracker.file=../x.csv"], r"is not the name of a file in the run's folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_no_run_could_do_leaves_no_trace(tmp_path, words, said):
    with pytest.raises(DiffkitError, match=said):
        train(*QUICK, f"out={tmp_path}", *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("torch.zeros(2, 8)", r"data 'odd' does not give items as \(x, label\), x a float32 tensor of 8 \(ValueError"),
        ("(torch.zeros(2, 8).numpy(), 0)", r"does not give items as \(x, label\).*\(TypeError"),
        ("(torch.zeros(2, 8, dtype=torch.float64), 0)", r"but one of torch.float64; convert it: x.float\(\)"),
        ("(torch.full((2, 8), torch.nan), 0)", "data 'odd' has values that are not finite"),
        ("1 / 0", r"\(ZeroDivisionError: division by zero\)"),
    ],
    ids=["no label", "numpy", "float64", "nan", "raises"],
)
def test_items_that_are_none_are_said_before_anything_is_written(tmp_path, make_plugin, install, item, said):
    source = f"""
import torch
from diffkit import build

class Odd:
    def __init__(self):
        other = build("data", "spirals")
        self.modality, self.spec = other.modality, other.spec

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {item}

@hookimpl
def diffkit_datasets():
    yield Component("odd", "odd_pack:Odd")
"""
    install(make_plugin("odd-pack", source))
    with pytest.raises(DiffkitError, match=said):
        train(*QUICK, f"out={tmp_path / 'runs'}", "data=odd")
    assert not (tmp_path / "runs").exists()


def test_an_augmentation_that_does_not_suit_the_data_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(DiffkitError, match="augment 'flip': it mirrors left and right"):
        train(*QUICK, f"out={tmp_path / 'runs'}", "augment=flip")
    assert not (tmp_path / "runs").exists()


def test_a_kind_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(DiffkitError, match=r"no kind 'schedul' \(did you mean 'schedule'\?\); kinds: .*sampler"):
        build("schedul", "root")
