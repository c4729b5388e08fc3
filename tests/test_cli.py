"""The installed command, from the folder and in the way that a person would type it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

import diffkit
from diffkit.run import checkpoint

RUN = ["recipe=spirals", "train.steps=12", "train.save_every=6", "train.log_every=3", "sample.n=4", "device=cpu"]


def only_run(folder):
    (config,) = Path(folder).rglob("config.yaml")
    return config.parent


def last_bits(run):
    return (checkpoint.steps(run / "checkpoints")[0] / "SHA256SUMS").read_text()


@pytest.fixture(scope="module")
def ended(tmp_path_factory, outside_path, environment):
    folder = tmp_path_factory.mktemp("train")
    command = Path(sys.executable).with_name("diffkit")
    done = subprocess.run([command, *RUN], cwd=folder, env=environment(outside_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done, only_run(folder), folder


class TestTrain:
    def test_says_what_it_trains_how_far_it_is_where_the_samples_are_and_what_to_type_next(self, ended):
        done, run, folder = ended
        said = done.stdout
        assert f"run      {run.relative_to(folder)}" in said
        assert "256 items of 2 x 8" in said
        assert re.search(r"train 12/12 .*loss .*/s .*s left", said)
        assert f"samples  {run.relative_to(folder)}/samples/step-00000012/sheet.png" in said
        assert f"diffkit sample {run.relative_to(folder)}" in said and "diffkit resume" in said
        assert done.stderr == ""

    def test_writes_one_folder_and_nothing_beside_it(self, ended):
        _, run, folder = ended
        assert [path.name for path in folder.iterdir()] == ["runs"]
        assert re.fullmatch(r"runs/spirals/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", str(run.relative_to(folder)))
        names = {path.name for path in run.iterdir()} - {".lock"}
        assert names == {"config.yaml", "data.json", "plugins.lock", "metrics.jsonl", "checkpoints", "samples"}

    def test_writes_a_config_that_is_resolved_and_reloads(self, ended):
        _, run, _ = ended
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["recipe"] == "spirals"
        assert config["net"] == {"name": "dense", "width": 64}
        assert config["modality"] == {"name": "points"}, "the data's own"
        assert "${" not in (run / "config.yaml").read_text()

    def test_writes_a_lock_of_packages_versions_and_sources(self, ended):
        _, run, _ = ended
        lock = json.loads((run / "plugins.lock").read_text())
        assert lock["plugins"]["diffkit-spirals"] == "1.2.3"
        assert lock["diffkit"] == diffkit.__version__
        assert set(lock["components"]) == {"schedule", "net", "prediction", "sampler", "modality", "data", "optim"}
        assert all(re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) for entry in lock["components"].values())

    def test_writes_a_line_of_numbers_as_often_as_asked(self, ended):
        _, run, _ = ended
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [3, 6, 9, 12]
        assert all({"loss", "grad_norm", "lr", "steps_per_second"} < set(line) for line in lines)

    def test_writes_samples_as_files_named_by_label_and_index_and_a_sheet(self, ended):
        _, run, _ = ended
        folder = run / "samples/step-00000012"
        names = {path.name for path in folder.glob("*.csv")}
        assert names == {"left_00000.csv", "right_00001.csv", "left_00002.csv", "right_00003.csv"}
        assert Image.open(folder / "sheet.png").size > (100, 50)

    def test_checkpoints_are_those_asked_for(self, ended):
        _, run, _ = ended
        assert [path.name for path in checkpoint.steps(run / "checkpoints")] == ["step-00000012", "step-00000006"]


class TestAsking:
    """Commands that only ask compose nothing and import no torch."""

    @pytest.mark.parametrize("words", ["--help", "-h", "help", "net=dit --help"])
    def test_help_shows_examples_commands_groups_with_their_choices_and_keys(self, command, words):
        done = command(*words.split())
        assert done.returncode == 0, done.stderr
        for said in (
            "diffkit +schedule=cosine +net=unet",
            "turns",
            "resume",
            "root",
            "train.batch_size",
            "default 96 (recipe=digits, else 128)",
        ):
            assert said in done.stdout
        assert "\x1b" not in done.stdout, "no colours into a pipe"
        assert not list(command.folder.iterdir())

    def test_version_is_that_of_the_package(self, command):
        assert command("--version").stdout == f"diffkit {diffkit.__version__}\n"

    def test_plugins_list_names_each_component_with_its_package(self, command):
        listed = command("plugins", "list").stdout
        assert re.search(r"^schedule +root +diffkit-spirals +α² = 1 - t", listed, re.MULTILINE)
        assert command("plugins").stdout == listed

    def test_plugins_list_json_is_one_object_for_programs(self, command):
        found = json.loads(command("plugins", "list", "--json").stdout)
        assert {"package": "diffkit-spirals", "version": "1.2.3", "entry_point": "spirals"} in found["plugins"]
        root = next(component for component in found["components"] if component["name"] == "root")
        assert root["kind"] == "schedule" and root["target"] == "diffkit_spirals.model:Root" and not root["contested"]
        assert found["set_aside"] == {}

    def test_plugins_info_explains_a_component_and_its_options(self, command):
        said = command("plugins", "info", "dense").stdout
        assert "net=dense" in said
        assert "from diffkit-spirals 1.2.3" in said
        assert "Three linear layers over the data" in said
        assert "net.width: int = 64" in said

    def test_help_says_what_a_run_without_words_takes(self, command):
        lines = {line.split()[0]: line for line in command("--help").stdout.splitlines() if "default" in line}
        config = diffkit.compose()
        for part in ("train", "sample"):
            for key, value in config[part].items():
                taken = "null" if value is None else value
                assert f"default {taken}" in lines[f"{part}.{key}"]

    @pytest.mark.parametrize("words", [["--help"], ["--version"], ["plugins", "list"], ["plugins", "list", "--json"]])
    def test_imports_no_torch_and_no_hydra(self, python, words):
        source = (
            "import sys; from diffkit.cli.main import run; run(sys.argv[1:]); "
            "print([m for m in ('torch', 'hydra', 'numpy', 'PIL') if m in sys.modules], file=sys.stderr)"
        )
        done = python(source, *words)
        assert done.stderr.strip() == "[]", done.stderr

    def test_doctor_finds_this_installation_sound(self, command):
        done = command("doctor")
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        assert len(lines) >= 8 and all(line.startswith("ok ") for line in lines)

    def test_doctor_says_what_to_install_where_a_kind_is_empty(self, command, python):
        done = command("doctor", env={"DIFFKIT_DISABLE_PLUGINS": "diffkit-schedules,diffkit-spirals"})
        assert done.returncode == 1
        assert "PROBLEM  nothing is installed for schedule" in done.stdout
        assert "pip install diffkit-schedules" in done.stdout

    def test_cfg_job_prints_the_config_and_trains_nothing(self, command):
        done = command("--cfg", "job", "recipe=spirals", "train.steps=7")
        config = yaml.safe_load(done.stdout)
        assert config["train"]["steps"] == 7 and config["net"]["name"] == "dense"
        assert not list(command.folder.iterdir())

    def test_output_into_a_closed_pipe_is_no_error(self, outside_path, environment):
        command = Path(sys.executable).with_name("diffkit")
        shell = f"set -o pipefail; {command} plugins list | head -1"
        done = subprocess.run(["bash", "-c", shell], env=environment(outside_path), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


class TestSample:
    def test_takes_all_the_words_there_are(self, command, trained):
        words = (
            "sample.n=5 sample.batch_size=2 sampler=midpoint sampler.steps=3 sample.label=left seed=7 device=cpu ~grid"
        )
        done = command("sample", trained, *words.split())
        assert done.returncode == 0, done.stderr
        sheet = Path(done.stdout.split("samples  ")[1].strip())
        assert len(list(sheet.parent.glob("left_*.csv"))) == 5
        said = json.loads((sheet.parent / "sampling.json").read_text())
        assert (said["seed"], said["n"], said["sampler"]["steps"]) == (7, 5, 3)
        assert said["evaluations_per_sample"] == 2 * 3 - 1, "two a step, one in the last"

    def test_twice_with_one_seed_gives_the_same_files_in_another_folder(self, command, trained):
        words = ["sample.n=3", "seed=5", "device=cpu", "sampler.steps=2"]
        first, second = (Path(command("sample", trained, *words).stdout.split("samples  ")[1].strip()) for _ in "ab")
        assert first != second
        for path in first.parent.glob("*.csv"):
            assert path.read_bytes() == (second.parent / path.name).read_bytes()

    def test_last_is_the_run_started_last(self, command):
        for seed in (1, 2):
            assert command(*RUN, f"seed={seed}", "train.steps=1", "sample.n=1").returncode == 0
            time.sleep(0.01)
        done = command("sample", "last", "sample.n=1", "sampler.steps=1")
        run = Path(done.stdout.split("samples  ")[1].strip()).parents[2]
        assert yaml.safe_load((command.folder / run / "config.yaml").read_text())["seed"] == 2

    def test_says_when_it_falls_back_to_an_older_checkpoint(self, command, trained):
        (trained / "checkpoints/step-00000030/ema.safetensors").write_bytes(b"")
        done = command("sample", trained, "sample.n=1", "sampler.steps=1")
        assert done.returncode == 0, done.stderr
        assert "step-00000030 is damaged" in done.stdout

    def test_a_run_may_be_moved_and_sampled_from_any_folder(self, command, trained, tmp_path):
        moved = trained.rename(tmp_path / "else where")
        assert command("sample", moved, "sample.n=1", "sampler.steps=1", cwd="/").returncode == 0


class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_saves_says_how_to_resume_and_the_resumed_run_equals_an_uninterrupted_one(
        self, command, outside_path, environment, number
    ):
        words = "recipe=spirals train.steps=3000 train.save_every=0 train.log_every=1 sample.n=1 device=cpu net.width=8"
        path = Path(sys.executable).with_name("diffkit")
        with subprocess.Popen(
            [path, *words.split()],
            cwd=command.folder,
            env=environment(outside_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            lines = [process.stdout.readline() for _ in range(4)]
            assert "train " in lines[-1], lines
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
        assert process.returncode == 128 + number, err
        assert err == ""
        stopped = int(re.search(r"stopped  at step (\d+) of 3000; everything is saved", out)[1])
        assert 0 < stopped < 3000
        run = only_run(command.folder)
        assert f"next     diffkit resume {run.relative_to(command.folder)}" in out
        goal = stopped + 5
        done = command("resume", run, f"train.steps={goal}")
        assert done.returncode == 0, done.stderr
        assert f"from step {stopped}" in done.stdout
        whole = command(*words.split(), f"train.steps={goal}", "out=whole")
        assert whole.returncode == 0, whole.stderr
        assert last_bits(run) == last_bits(only_run(command.folder / "whole"))

    def test_killed_outright_it_resumes_from_the_last_checkpoint(self, command, outside_path, environment):
        words = [
            "recipe=spirals",
            "train.steps=3000",
            "train.save_every=50",
            "train.log_every=50",
            "sample.n=1",
            "device=cpu",
        ]
        path = Path(sys.executable).with_name("diffkit")
        with subprocess.Popen(
            [path, *words], cwd=command.folder, env=environment(outside_path), stdout=subprocess.PIPE, text=True
        ) as process:
            while not (saved := list(command.folder.rglob("checkpoints/step-*"))):
                time.sleep(0.02)
            process.kill()
        run = only_run(command.folder)
        assert saved
        done = command("resume", run, "train.steps=400", "sample.n=1")
        if "has reached" not in done.stderr:
            assert done.returncode == 0, done.stderr
            assert re.search(r"from step \d*[05]0\b", done.stdout)
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert steps == sorted(set(steps))


class TestSweep:
    def test_makes_one_run_for_each_choice_in_one_folder(self, command):
        done = command("-m", *RUN, "train.steps=1", "sample.n=1", "net.width=4,8", "seed=0,1")
        assert done.returncode == 0, done.stderr
        configs = sorted(command.folder.glob("runs/sweeps/*/*/config.yaml"))
        found = [yaml.safe_load(path.read_text()) for path in configs]
        assert sorted((c["net"]["width"], c["seed"]) for c in found) == [(4, 0), (4, 1), (8, 0), (8, 1)]
        assert all((path.parent / "samples/step-00000001/sheet.png").exists() for path in configs)
        assert command("sample", "last", "sample.n=1", "sampler.steps=1").returncode == 0

    def test_last_is_for_all_its_jobs_the_run_that_was_last_before_it(self, command):
        assert command(*RUN, "train.steps=1", "sample.n=1").returncode == 0
        (first,) = (path.parent for path in command.folder.glob("runs/spirals/*/config.yaml"))
        words = ("train.steps=1", "sample.n=1", "adapt=weights", "adapt.run=last", "seed=1,2")
        done = command("-m", *RUN, *words)
        assert done.returncode == 0, done.stderr
        configs = [yaml.safe_load(path.read_text()) for path in command.folder.glob("runs/sweeps/*/*/config.yaml")]
        assert [config["adapt"]["run"] for config in configs] == [str(first.resolve())] * 2

    def test_over_a_group_with_signs_works_too(self, command):
        done = command("-m", *RUN, "train.steps=1", "sample.n=1", "+schedule=root,diffkit-spirals.root")
        assert done.returncode == 0, done.stderr
        assert len(list(command.folder.rglob("config.yaml"))) == 2

    def test_with_a_mistake_in_one_choice_exits_with_2(self, command):
        done = command("-m", *RUN, "schedule=root,rot")
        assert done.returncode == 2
        assert "schedule 'rot' is not installed (did you mean 'root'?)" in done.stderr
        assert "Traceback" not in done.stderr


class TestCompletion:
    @pytest.fixture
    def complete(self, outside_path, environment, tmp_path):
        """Return a function that presses Tab in a real bash, and gives the candidates."""

        def press(line, cwd=tmp_path):
            script = f"""
export PATH={Path(sys.executable).parent}:$PATH
source <(diffkit completion bash) || exit 9
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
IFS=$' \\t\\n=' read -ra COMP_WORDS <<< "$COMP_LINE"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ :; }}
_diffkit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
            done = subprocess.run(
                ["bash", "-c", script], env=environment(outside_path), capture_output=True, text=True, cwd=cwd
            )
            assert done.returncode == 0 and not done.stderr, done.stderr
            return done.stdout.split()

        return press

    @pytest.mark.parametrize(
        ("line", "candidates"),
        [
            ("diffkit tur", ["turns"]),
            ("diffkit schedule=ro", ["root"]),
            ("diffkit +schedule=ro", ["root"]),
            ("diffkit recipe=spi", ["spirals"]),
            ("diffkit recipe=spirals net.wid", ["net.width="]),
            ("diffkit recipe=spirals train.st", ["train.steps="]),
            ("diffkit sample last sampler=midp", ["midpoint"]),
            ("diffkit -m schedule=root,ro", ["root,root"]),
            ("diffkit plugins inf", ["info"]),
            ("diffkit plugins info den", ["dense"]),
            ("diffkit resume la", ["last"]),
            ("diffkit nothing_like_it", []),
        ],
    )
    def test_offers_what_is_installed_plugins_included(self, complete, line, candidates):
        assert complete(line) == candidates

    def test_offers_groups_keys_and_commands_on_an_empty_word(self, complete):
        offered = complete("diffkit ")
        assert {"schedule=", "net=", "train.steps=", "sample", "turns", "--help"} <= set(offered)

    def test_offers_runs_to_commands_on_runs(self, complete, trained, tmp_path):
        run = tmp_path / "runs/spirals/2026-01-01_00-00-00"
        run.parent.mkdir(parents=True)
        trained.rename(run)
        for name in ("sample", "export", "report"):
            assert complete(f"diffkit {name} runs/spi") == ["runs/spirals/2026-01-01_00-00-00"]

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_has_a_script_for_each_shell(self, command, shell):
        script = command("completion", shell).stdout
        assert "diffkit completion words" in script

    def test_asked_for_no_shell_says_where_each_script_goes(self, command):
        done = command("completion")
        assert done.returncode == 2
        assert all(name in done.stderr for name in (".bashrc", ".zshrc", "config.fish"))


def test_works_inside_a_script_that_is_itself_a_hydra_application(tmp_path, python):
    (tmp_path / "theirs.yaml").write_text("steps: 2\nhydra: {output_subdir: null, run: {dir: .}}\n")
    script = """
import sys
sys.argv = ["app", "steps=3"]
import hydra
@hydra.main(version_base="1.3", config_path=sys.path[0] or ".", config_name="theirs")
def app(config):
    import diffkit
    run = diffkit.train("recipe=spirals", f"train.steps={config.steps}", "sample.n=1", "device=cpu")
    print(run.step, diffkit.load(run.path).sample(2, steps=1).shape, hydra.core.hydra_config.HydraConfig.get().job.name)
app()
"""
    (tmp_path / "app.py").write_text(script.replace('sys.path[0] or "."', repr(str(tmp_path))))
    done = subprocess_run(python, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3 torch.Size([2, 2, 8]) app"


def subprocess_run(python, folder):
    return python("import runpy; runpy.run_path('app.py', run_name='__main__')", cwd=folder)


def test_debug_shows_the_traceback(command):
    done = command("schedule=nope", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "DiffkitError" in done.stderr


def test_a_bug_in_a_plugin_is_laid_at_its_door(command, make_plugin):
    source = (
        "class Stumbling:\n    def __init__(self, spec=None): pass\n"
        "    def __call__(self, denoiser, noise, **rest): return noise @ 'noise'\n\n"
        "@hookimpl\ndef diffkit_samplers():\n    yield Component('stumbling', 'stumbling_pack:Stumbling')"
    )
    done = command(
        "recipe=spirals", "train.steps=2", "sampler=stumbling", path=[make_plugin("stumbling-pack", source, "1.5")]
    )
    *traceback, said = done.stderr.splitlines()
    assert done.returncode == 1 and "Traceback" in done.stderr and traceback[-1].startswith("TypeError")
    assert said == "diffkit: this happened in stumbling-pack 1.5; tell whoever makes that package"


def test_python_dash_m_is_the_same_command(python, tmp_path):
    done = python("import runpy; runpy.run_module('diffkit', run_name='__main__')", "--version")
    assert done.stdout == f"diffkit {diffkit.__version__}\n"


def test_a_folder_named_like_the_package_is_not_imported(command):
    (command.folder / "conf").mkdir()
    (command.folder / "diffkit_spirals").mkdir()
    (command.folder / "conf/config.yaml").write_text("junk: 1\n")
    done = command("--cfg", "job", "recipe=spirals")
    assert done.returncode == 0, done.stderr
    assert "junk" not in done.stdout


def test_nothing_is_written_to_the_home_folder(command, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = command(*RUN, "train.steps=1", "sample.n=1", env={"HOME": str(home)})
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())
    assert os.listdir(command.folder) == ["runs"]


class TestSweeps:
    def test_a_run_that_cannot_be_trained_is_said_and_the_others_are_trained(self, command):
        done = command("-m", "recipe=spirals", "sample.n=1", "sampler.steps=1", "device=cpu", "train.steps=-1,2")
        assert done.returncode == 2
        assert "train.steps=-1 is out of range" in done.stderr
        assert "1 of 2 runs could not be trained, as said above" in done.stderr
        assert "Traceback" not in done.stderr
        assert [path.name for path in command.folder.glob("runs/sweeps/*/[0-9]*")] == ["1"]


def test_every_command_says_what_it_is_for(command):
    done = command("sample", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("diffkit sample: ")
