"""How good pictures of several classes are, by the features of a classifier that is trained here and kept in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from digits import frechet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FEATURES, BATCH, EPOCHS, REFERENCE = 64, 128, 3, 10_000


class Classifier(nn.Module):
    """Four convolutions, the mean over positions, and a hidden layer whose 64 activations are the features."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer, stride in ((channels, 32, 1), (32, 64, 2), (64, 64, 2), (64, 128, 2)):
            layers += [nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 128, FEATURES), nn.ReLU()]
        self.features = nn.Sequential(*layers, *pooled)
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of pictures."""
        return self.head(self.features(x))


class Judge:
    """Compares samples with real pictures.

    Args:
        train: pictures ``(items, channels, side, side)`` in [-1, 1] and their labels, to learn from and compare with.
        test: others.
        kept: the file of the classifier's weights, written where it is missing.
    """

    def __init__(self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], kept: Path) -> None:
        self.classifier = Classifier(train[0].shape[1], int(train[1].max()) + 1)
        if not kept.is_file():
            self._learn(*train)
            save_file(self.classifier.state_dict(), kept)
        self.classifier.load_state_dict(load_file(kept))
        self.classifier.eval()
        chosen = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(0))[:REFERENCE]
        self.known, _ = self._features(train[0][chosen])
        self.test = test

    def __call__(self, x: Tensor, label: Tensor) -> dict[str, float]:
        """Return the share of samples taken for their label, the Fréchet distance of their features, and real ones'."""
        agreement, distance = self._scores(x, label)
        chosen = torch.randperm(len(self.test[0]), generator=torch.Generator().manual_seed(1))[: len(x)]
        accuracy, held = self._scores(self.test[0][chosen], self.test[1][chosen])
        return {
            "agreement": agreement,
            "frechet": distance,
            "accuracy_held_out": accuracy,
            "frechet_held_out": held,
        }

    def _scores(self, x: Tensor, label: Tensor) -> tuple[float, float]:
        features, found = self._features(x.clamp(-1, 1))
        return float((found == label).float().mean()), frechet(features, self.known)

    def _learn(self, x: Tensor, label: Tensor) -> None:
        torch.manual_seed(0)
        net, steps = self.classifier.train(), EPOCHS * (len(x) // BATCH)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
        for step in range(steps):
            if step % (len(x) // BATCH) == 0:
                order = torch.randperm(len(x))
            rows = order[step * BATCH % (len(x) // BATCH * BATCH) :][:BATCH]
            some = torch.where((torch.rand(BATCH) < 0.5).view(-1, 1, 1, 1), x[rows].flip(-1), x[rows])
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(some), label[rows], label_smoothing=0.1).backward()
            optimizer.step()
            rate.step()

    @torch.no_grad()
    def _features(self, x: Tensor) -> tuple[np.ndarray, Tensor]:
        parts: Sequence[Tensor] = [self.classifier.features(some) for some in x.split(500)]
        features = torch.cat(list(parts))
        return features.double().numpy(), self.classifier.head(features).argmax(1)
