"""The stream of training batches: endless, shuffled, and a function of (seed, position) alone."""

from copy import copy

from diffkit.contracts.data import Dataset
from diffkit.data.fetch import Batch, blank, fetch
from diffkit.data.order import Order, shares
from diffkit.data.workers import PATIENCE, Workers
from diffkit.errors import DiffkitError


class BatchStream:
    """Batches of a data set, by step: step k takes the places k·batch_size and on of one :class:`Order` of all items.

    What a batch holds depends on (seed, step) and not on who fetches it: neither on the number of ranks, whose shares
    side by side are the batch, nor on the number of workers, nor on what was drawn before. So a resumed run needs no
    state to see the batches it would have seen.

    Args:
        dataset: what is drawn from.
        batch_size: of all ranks together.
        seed: of the order.
        rank: which share of each batch is returned, rows rank·batch_size/ranks and on.
        ranks: how many ranks share a batch.
        balance: draw all classes alike.
        workers: how many processes fetch batches ahead; 0 fetches each when it is asked for. They start with the first
            batch; :meth:`close` ends them.
        pinned: return batches in page-locked memory, from which copies to a GPU are asynchronous.
        timeout: seconds to wait for a worker before another takes its place.

    Raises:
        DiffkitError: where ranks would have nothing, or ``balance`` no classes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        balance: bool = False,
        workers: int = 0,
        pinned: bool = False,
        timeout: float = PATIENCE,
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.pinned = dataset, batch_size, seed, False
        if batch_size < ranks:
            raise DiffkitError(f"train.batch_size={batch_size} is less than one item for each of {ranks} ranks")
        self.rows = range(rank * batch_size // ranks, (rank + 1) * batch_size // ranks)
        self.order = Order(shares(dataset, balance), seed)
        self._workers: Workers | None = None
        if workers:
            self._workers = Workers(copy(self), blank(dataset.spec, len(self.rows)), workers, timeout)
        self.pinned = pinned  # here, and not in the workers

    def indices(self, step: int) -> list[int]:
        """Return which items this rank's share of step ``step`` (from 0) is made of."""
        start = step * self.batch_size
        return self.order.items(start + self.rows.start, start + self.rows.stop)

    def batch(self, step: int) -> Batch:
        """Return items ``(rows, channels, *shape)`` of step ``step``, and what is known of them by name.

        Raises:
            DiffkitError: where a batch cost several workers their lives. What the data set raises is raised as it is.
        """
        if self._workers is not None:
            return self._workers.batch(step, self.pinned)
        x, cond = fetch(self.dataset, self.indices(step))
        return (
            (x.pin_memory(), {name: value.pin_memory() for name, value in cond.items()}) if self.pinned else (x, cond)
        )

    def close(self) -> None:
        """End the workers, if there are any; the next batch starts them again."""
        if self._workers is not None:
            self._workers.close()
