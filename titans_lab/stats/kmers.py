"""The baseline of sequence classification: logistic regression on the frequencies of short words (k-mers).

A sequence is the square roots of its k-mers' frequencies (Hellinger's distance between frequencies is Euclidean between
these). The weights minimise the mean cross-entropy in nats plus `strength` / 2 times their square sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

STRENGTHS = (1e-5, 1e-4, 1e-3)
LENGTHS = (3, 4, 5, 6)  # lengths of a word
MOST_STEPS = 300

Classify = Callable[["sparse.csr_matrix"], np.ndarray]  # from features [examples, 4^k] to classes [examples]


def kmer_classes(
    train: tuple[Sequence[np.ndarray], np.ndarray], valid: tuple[Sequence[np.ndarray], np.ndarray],
    asked: Sequence[np.ndarray], classes: int,
) -> np.ndarray:  # fmt: skip
    """Return the classes of the `asked` sequences, with the word length and strength that are best on `valid`.

    Args:
        train: Sequences of bases 0 to 3, anything above for an unknown one, and their classes.
        valid: The same, of others.
        asked: Sequences.
        classes: The number of classes.
    """
    best, found = -1.0, np.zeros(len(asked), np.int64)
    for k in LENGTHS:
        x, judged = kmer_features(train[0], k), kmer_features(valid[0], k)
        for strength in STRENGTHS:
            classify = logistic(x, train[1], classes, strength)
            right = float((classify(judged) == valid[1]).mean())
            if right > best:
                best, found = right, classify(kmer_features(asked, k))
    return found


def kmer_features(sequences: Sequence[np.ndarray], k: int) -> sparse.csr_matrix:
    """Return k-mer frequencies `[sequences, 4^k]`.

    A word with an unknown base does not count, and a sequence without words is 0.
    """
    from scipy import sparse

    columns = [_words(sequence, k) for sequence in sequences]
    rows = np.repeat(np.arange(len(columns)), [len(words) for words in columns])
    ones = np.ones(len(rows))
    counts = sparse.csr_matrix((ones, (rows, np.concatenate(columns))), shape=(len(columns), 4**k))
    totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
    return (sparse.diags(1 / totals) @ counts).sqrt()


def logistic(x: sparse.csr_matrix, y: np.ndarray, classes: int, strength: float) -> Classify:
    """Fit the classes `y` of features x, with an intercept that is not penalized."""
    from scipy.optimize import minimize  # here: every worker imports this module, and few count words
    from scipy.special import logsumexp

    shape, truth = (x.shape[1] + 1, classes), np.eye(classes)[y]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = x @ weights[:-1] + weights[-1]
        chances = logits - logsumexp(logits, axis=1, keepdims=True)
        wrong = (np.exp(chances) - truth) / len(y)
        slope = np.vstack((x.T @ wrong + strength * weights[:-1], wrong.sum(0)))
        return -(chances * truth).sum() / len(y) + strength / 2 * (weights[:-1] ** 2).sum(), slope.ravel()

    start = np.zeros(shape[0] * classes)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}).x.reshape(shape)
    return lambda asked: np.argmax(asked @ weights[:-1] + weights[-1], axis=1)


def _words(sequence: np.ndarray, k: int) -> np.ndarray:
    """Return the number of each word of k bases, its last base lowest."""
    if len(sequence) < k:
        return np.zeros(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(sequence.astype(np.int64), k)
    return (windows @ 4 ** np.arange(k)[::-1])[(windows < 4).all(1)]
