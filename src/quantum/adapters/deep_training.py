"""Training of deep models: samples in, the weights of one network out. TensorFlow is imported here, and only to train.

What is learnt is judged on later rows, as for forests: the first three fifths of the history train, the next fifth
calibrates, and the last one tells how rare the model's "one in a hundred" really is, and whether its forecasts are
worth more than "as before". Equal jobs give equal weights: everything that is drawn has the job's seed, and one thread
adds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.adapters.forest_training import check_count, finished, with_columns
from quantum.adapters.training_process import LACKING
from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.deep import HEADS, LEVELS, STRETCH, STRETCHED, forecasts, network_of, readings_of
from quantum.domain.detectors.forests import calibrate
from quantum.domain.detectors.trained import stretches_of
from quantum.domain.errors import Rejected
from quantum.domain.models import NETWORK, Training, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Progress = Callable[[float, str], None]
    Stretches = NDArray[np.float32]
    Values = NDArray[np.float64]
    Weights = dict[str, NDArray[np.float32]]
    Fit = Callable[[Stretches, Values, int, Progress], Weights]

MOST_ROWS: Final = 100_000
"""Rows that are drawn from the history; three fifths of them train."""
CHUNK_ROWS: Final = 20_000
WIDTH: Final = 48
EPOCHS: Final = 8
BATCH: Final = 256
RATE: Final = 2e-3
HUNDREDTHS: Final = (0.02, 0.5, 0.98)
"""What is forecast: the middle, and the edges within which 24 of 25 values lie."""


def train(job: TrainingJob, progress: Progress, fit: Fit | None = None) -> Training:
    """Return the model that the job asks for, with its metrics; equal jobs give equal models.

    Args:
        job: of a `deep-forecaster`.
        progress: is told the share that is done, and what is done now.
        fit: returns flat weights of a network for stretches, the values after them, and a seed; by default TensorFlow.

    Raises:
        Rejected: `too_little_history`, or `training_extra` where TensorFlow is not installed.
    """
    progress(0.0, "reading")
    stretches, values = _drawn(job)
    check_count(len(values))
    learnt, calm = len(values) * 3 // 5, len(values) * 4 // 5
    weights = (fit or fit_network)(stretches[:learnt], values[:learnt], job.seed, progress)
    progress(0.95, "calibrating")
    said = forecasts(network_of(**weights), stretches[learnt:])
    readings = readings_of(said, values[learnt:])
    model = with_columns(job.model, weights, calibrate(readings[: calm - learnt]))
    more = {
        "weights": sum(len(one) for one in weights.values()),
        "loss_to_as_before": _loss_to_as_before(said[calm - learnt :], stretches, values, learnt, calm),
    }
    return finished(model, readings[calm - learnt :], len(values), more)


def _drawn(job: TrainingJob) -> tuple[Stretches, Values]:
    """Return stretches and the values after them, in scales: all of the history, or `MOST_ROWS` of it, in its order."""
    names = {one.name: one.array() for one in job.samples}
    slots, at_ms, values = names["slots"], names["at_ms"], names["values"]
    bank = Bank(STRETCHED)
    bank.grow(len(job.series))
    rng, share = np.random.default_rng(job.seed), MOST_ROWS / max(len(slots), 1)
    stretches, after = [np.zeros((0, STRETCH), np.float32)], [np.zeros(0)]
    for begin in range(0, len(slots), CHUNK_ROWS):
        rows = slice(begin, begin + CHUNK_ROWS)
        found, about = stretches_of(bank.records, slots[rows], at_ms[rows], values[rows])
        kept = (rng.random(len(found)) < share) & ~np.isnan(about[:, 0])
        stretches.append(found[kept])
        after.append(about[kept, 2])
    return np.concatenate(stretches), np.concatenate(after)


def _loss_to_as_before(
    said: NDArray[np.float64], stretches: Stretches, values: Values, learnt: int, calm: int
) -> float:
    """Return the loss of forecasts in losses of "the newest value, give or take what steps were": below 1 is better."""
    middle = said[:, 1]
    theirs = np.stack([middle - said[:, 0], middle, middle + said[:, 2]], axis=1)
    newest = stretches[:, -1].astype(np.float64)
    steps = np.quantile(values[:learnt] - newest[:learnt], HUNDREDTHS)
    naive = newest[calm:, None] + steps
    return round(_loss(theirs, values[calm:]) / max(_loss(naive, values[calm:]), 1e-9), 6)


def _loss(said: NDArray[np.float64], values: Values) -> float:
    """Return the mean pinball loss of `HUNDREDTHS`, shape (n, 3)."""
    off, shares = values[:, None] - said, np.array(HUNDREDTHS)
    return float(np.maximum(shares * off, (shares - 1.0) * off).mean())


# ---- TensorFlow ----------------------------------------------------------------------------------------------------


def fit_network(stretches: Stretches, values: Values, seed: int, progress: Progress) -> Weights:
    """Return the flat weights of a network that was trained to forecast the values, by name.

    Raises:
        Rejected: `training_extra`.
    """
    progress(0.05, "loading TensorFlow")
    tensorflow = load_tensorflow()
    keras = tensorflow.keras
    keras.utils.set_random_seed(seed)
    model = build_network(keras)
    steps = EPOCHS * -(-len(values) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(rate), loss=_pinball(keras.ops))

    def tell(epoch: int, _: object) -> None:
        progress(0.1 + 0.85 * (epoch + 1) / EPOCHS, f"went through the history {epoch + 1} of {EPOCHS} times")

    watcher = keras.callbacks.LambdaCallback(on_epoch_end=tell)
    wanted = values.astype(np.float32)[:, None]
    model.fit(stretches[:, :, None], wanted, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[watcher])
    return weights_of(model)


def load_tensorflow() -> Any:
    """Return TensorFlow, set up so that equal jobs give equal weights: no other devices, one thread.

    Raises:
        Rejected: `training_extra`.
    """
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        import tensorflow as tf  # noqa: PLC0415 - ten seconds and half a gigabyte; only training needs it
    except ImportError:
        raise Rejected("training_extra", LACKING) from None

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    return tf


def build_network(keras: Any, width: int = WIDTH) -> Any:
    """Return a fresh network as a Keras model: stretches, shape (n, STRETCH, 1), to its three heads, shape (n, 3).

    Only the newest output of dilated convolutions is wanted, so each level is one with a stride of two.
    """
    layers = keras.layers
    stretch = keras.Input((STRETCH, 1))
    cells = layers.Conv1D(width, 2, strides=2, activation="relu")(stretch)
    for _ in range(LEVELS - 1):
        joined = layers.Conv1D(width, 2, strides=2, activation="relu")(cells)
        cells = layers.Add()([joined, layers.AveragePooling1D(2)(cells)])
    newest = layers.Flatten()(layers.Cropping1D((STRETCH - 1, 0))(stretch))
    return keras.Model(stretch, layers.Dense(HEADS)(layers.Concatenate()([layers.Flatten()(cells), newest])))


def weights_of(model: Any) -> Weights:
    """Return the weights of `build_network` as the flat arrays that the domain scores with."""
    arrays = [np.asarray(one, np.float32) for one in model.get_weights()]
    kernels, biases = arrays[2:-2:2], arrays[3:-2:2]
    whole = arrays[0], arrays[1], np.stack(kernels), np.stack(biases), arrays[-2], arrays[-1]
    return {name: one.ravel() for name, one in zip(NETWORK, whole, strict=True)}


def _pinball(ops: Any) -> Callable[[Any, Any], Any]:
    """Return the mean pinball loss (Koenker, Bassett 1978) of what the heads say."""

    def loss(values: Any, heads: Any) -> Any:
        middle = heads[:, 1:2]
        low, high = middle - ops.softplus(heads[:, 0:1]), middle + ops.softplus(heads[:, 2:3])
        off = values - ops.concatenate([low, middle, high], axis=1)
        shares = ops.convert_to_tensor([HUNDREDTHS])
        return ops.mean(ops.maximum(shares * off, (shares - 1.0) * off))

    return loss
