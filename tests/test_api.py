"""diffkit as a library: the same words as the command line, or plain objects without any config."""

import functools
import inspect
import threading

import pytest
import torch

import diffkit
from diffkit import Denoiser, DiffkitError, build

WORDS = ("recipe=spirals", "train.steps=8", "sample.n=2", "sampler.steps=2", "device=cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return diffkit.train(*WORDS, f"out={tmp_path_factory.mktemp('runs')}")


@pytest.fixture(scope="module")
def model(run):
    return diffkit.load(run.path)


def test_every_public_name_can_be_imported_and_is_documented():
    for name in diffkit.__all__:
        value = getattr(diffkit, name)
        assert name.startswith("__") or inspect.getdoc(value), f"{name} has no docstring"
    assert set(diffkit.__all__) <= set(dir(diffkit))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        diffkit.nonsense  # noqa: B018


def test_train_gives_the_run_that_ended(run):
    assert run.step == 8
    assert run.status == 0
    assert run.sheet.is_file()
    assert run.path in run.sheet.parents


class TestSample:
    def test_gives_float32_data_on_the_host(self, model):
        x = model.sample(3)
        assert (x.shape, x.dtype, x.device.type) == ((3, 2, 8), torch.float32, "cpu")
        assert not x.requires_grad

    def test_is_a_function_of_the_seed(self, model):
        assert torch.equal(model.sample(2, seed=3), model.sample(2, seed=3))
        assert not torch.equal(model.sample(2, seed=3), model.sample(2, seed=4))

    @pytest.mark.parametrize("sampler", ["midpoint"])
    def test_sample_7_is_the_same_alone_in_a_batch_and_in_other_batches(self, model, sampler):
        label = [i % 2 for i in range(10)]
        whole = model.sample(10, seed=1, label=label, sampler=sampler)
        torch.testing.assert_close(model.sample(8, seed=1, label=label[:8], sampler=sampler)[7], whole[7])
        torch.testing.assert_close(model.sample(10, seed=1, label=label, batch_size=3, sampler=sampler), whole)
        torch.testing.assert_close(model.draw([7], [label[7]], seed=1, sampler=sampler)[0], whole[7])

    @pytest.mark.parametrize(
        ("label", "expected"),
        [
            (None, [0, 1, 0, 1]),
            (1, [1, 1, 1, 1]),
            ("right", [1, 1, 1, 1]),
            ("left", [0, 0, 0, 0]),
            ([1, 0], [1, 0, 1, 0]),
            (["left", 1, 1, "left"], [0, 1, 1, 0]),
            (torch.tensor([1, 1, 0, 0]), [1, 1, 0, 0]),
        ],
    )
    def test_takes_labels_by_name_or_index_one_or_many(self, model, label, expected):
        assert model.labels(4, label) == expected
        assert torch.equal(model.sample(4, seed=0, label=label), model.sample(4, seed=0, label=expected))

    def test_refuses_more_labels_than_samples(self, model):
        with pytest.raises(DiffkitError, match=r"3 labels were given for n=2; ask for n=3"):
            model.sample(2, label=[0, 1, 0])

    def test_takes_a_label_as_a_tensor_of_one_number(self, model):
        assert torch.equal(model.sample(2, seed=0, label=torch.tensor(1)), model.sample(2, seed=0, label=1))

    @pytest.mark.parametrize("n", [0, -1, 2.5, "2"])
    def test_refuses_a_number_of_samples_that_is_none(self, model, n):
        with pytest.raises(DiffkitError, match=rf"n={n} is not a number of samples"):
            model.sample(n)

    @pytest.mark.parametrize("label", [2, -1, "up", [0, 5], torch.tensor([7]), 1.5, [], {"a": 1}, [[0]], True])
    def test_refuses_a_label_there_is_not(self, model, label):
        with pytest.raises(DiffkitError, match="label"):
            model.sample(4, label=label)

    def test_takes_steps_for_its_own_sampler_a_name_or_an_object(self, model):
        from diffkit_spirals.model import Midpoint

        expected = model.sample(2, seed=0, steps=5)
        assert torch.equal(expected, model.sample(2, seed=0, sampler="midpoint", steps=5))
        assert torch.equal(expected, model.sample(2, seed=0, sampler=Midpoint(steps=5)))
        assert not torch.equal(expected, model.sample(2, seed=0, steps=6))

    def test_counts_evaluations_as_the_sampler_makes_them(self, model):
        before = model.denoiser.evaluations
        model.sample(2, steps=5)
        assert model.denoiser.evaluations - before == 2 * 5 - 1, "two a step, one in the last"

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ({"n": 0}, "n=0"),
            ({"steps": 0}, "steps=0"),
            ({"sampler": "midpont"}, "did you mean 'midpoint'"),
            ({"grid": "nope"}, "grid 'nope' is not installed"),
            ({"guidance": "nope"}, "guidance 'nope' is not installed"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"batch_size": -1}, "batch_size=-1"),
        ],
    )
    def test_refuses_what_cannot_be(self, model, how, said):
        with pytest.raises(DiffkitError, match=said):
            model.sample(**{"n": 1, **how})

    def test_refuses_steps_beside_a_sampler_object_that_has_its_own(self, model):
        from diffkit_spirals.model import Midpoint

        with pytest.raises(DiffkitError, match="steps"):
            model.sample(1, sampler=Midpoint(steps=5), steps=6)


class TestLoad:
    def test_takes_words_as_the_command_sample_does(self, run):
        assert diffkit.load(run.path, "sampler.steps=5", "seed=9").config.sampler.steps == 5

    def test_loads_the_averaged_weights(self, run, model):
        from diffkit.run import checkpoint

        _, tensors, _, _ = checkpoint.newest(run.path / "checkpoints", ("model", "ema"))
        for name, parameter in model.denoiser.net.named_parameters():
            assert torch.equal(parameter, tensors["ema"][name])
        assert not torch.equal(tensors["ema"]["outer.weight"], tensors["model"]["outer.weight"])

    def test_needs_no_data(self, run, monkeypatch):
        from diffkit_spirals.points import Spirals

        @functools.wraps(Spirals.__init__)
        def fail(*_, **__):
            raise AssertionError("the data was built")

        monkeypatch.setattr(Spirals, "__init__", fail)
        assert diffkit.load(run.path).sample(1).shape == (1, 2, 8)

    def test_takes_a_folder_as_text_and_last_in_the_folder_it_is_called_from(self, run, monkeypatch):
        assert diffkit.load(str(run.path)).sample(1).shape == (1, 2, 8)
        monkeypatch.chdir(run.path.parents[1])
        run.path.parents[1].joinpath("runs").symlink_to(run.path.parents[1])
        assert torch.equal(diffkit.load().sample(1), diffkit.load(run.path).sample(1))

    def test_refuses_what_is_no_run(self, tmp_path):
        with pytest.raises(DiffkitError, match=r"is not a run \(has no config.yaml\)"):
            diffkit.load(tmp_path)


class TestPlainObjects:
    def test_train_with_any_loop_and_sample(self):
        from diffkit_spirals.model import Clean, Dense, Midpoint, Root
        from diffkit_spirals.points import Spirals

        torch.manual_seed(0)
        data = Spirals()
        net = Dense(data.spec)
        denoiser = Denoiser(net, Root(), prediction=Clean(spec=data.spec))
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        losses = []
        for _ in range(150):
            loss = denoiser.loss(data.items, label=torch.tensor(data.labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
        x = Midpoint(steps=10)(denoiser, torch.randn(4, 2, 8), label=torch.tensor([0, 1, 0, 1]))
        assert x.shape == (4, 2, 8) and x.abs().max() < 2

    def test_a_users_own_class_fits_by_shape(self):
        class Straight:
            def alpha(self, t):
                return 1 - self._t(t)

            def sigma(self, t):
                return self._t(t)

            def lam(self, t):
                return -torch.logit(self._t(t))

            def time(self, lam):
                return (torch.sigmoid(-lam) - 1e-3) / (1 - 2e-3)

            def _t(self, t):
                return 1e-3 + t * (1 - 2e-3)

        net = build("net", "dense", spec=diffkit.DataSpec(2, (8,)))
        assert Denoiser(net, Straight(), "clean").loss(torch.randn(4, 2, 8)).isfinite()


class TestAnywhere:
    def test_in_a_thread_other_than_the_main_one(self, tmp_path):
        found = []

        def work():
            run = diffkit.train(*WORDS, f"out={tmp_path}")
            found.append(diffkit.load(run.path).sample(2, seed=0))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found[0].shape == (2, 2, 8)

    def test_twice_in_one_process_with_the_same_result(self, tmp_path):
        samples = [diffkit.load(diffkit.train(*WORDS, f"out={tmp_path}").path).sample(2, seed=0) for _ in "ab"]
        assert torch.equal(*samples)

    def test_a_mistake_is_an_exception_and_not_an_exit(self):
        with pytest.raises(DiffkitError, match="schedule 'rot' is not installed"):
            diffkit.train("recipe=spirals", "schedule=rot")

    def test_signals_are_handled_as_before_when_training_has_ended(self, tmp_path):
        import signal

        before = signal.getsignal(signal.SIGINT)
        diffkit.train(*WORDS, f"out={tmp_path}")
        assert signal.getsignal(signal.SIGINT) is before

    def test_the_package_says_that_it_is_typed(self):
        from importlib.resources import files

        assert files("diffkit").joinpath("py.typed").is_file()
