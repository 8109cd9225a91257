"""Sequences of tokens: PREFIX-n pairs, and words of brackets."""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between

_LONGEST = 20
_VOCABULARY = 100


def prefix(
    *,
    percent: int = 10,
    train: int = 500_000,
    val: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
) -> Made:
    """PREFIX-n: is the second sentence a noisy prefix of the first? (Ganea et al., 2018, section 4)

    Words are numbers from 1 to 100. A prefix has n words, n uniform in 1..20, and the first
    sentence n + m, m uniform in 0..20 - n. Where the answer is yes, the second sentence is the
    prefix with floor(percent n / 100) of its words, at different places, replaced by random ones;
    where it is no, it is n random words. Half the pairs are of each kind.

    Args:
        percent: of the words that are replaced: 10, 30, 50 in the paper.
        train: pairs; 500 000 in the paper.
        val: pairs; 10 000 in the paper.
        test: pairs; 10 000 in the paper.
        seed: of everything.

    Returns:
        Arrays `pairs` (n, 2, 20) padded with 0, `y` (n,), `split`.

    Raises:
        ConfigError: for a percentage outside 0..100, or empty parts.
    """
    between("percent", percent, 0, 100)
    counts = {"train": train, "val": val, "test": test}
    for name, number in counts.items():
        at_least(name, number, 1)
    rng = np.random.default_rng(seed)
    count = sum(counts.values())
    length = rng.integers(1, _LONGEST + 1, size=count)
    longer = length + rng.integers(0, _LONGEST + 1 - length)
    first = rng.integers(1, _VOCABULARY + 1, size=(count, _LONGEST))
    random = rng.integers(1, _VOCABULARY + 1, size=(count, _LONGEST))
    labels = rng.integers(0, 2, size=count)
    place = np.arange(_LONGEST)
    # the places of the prefix in random order; the first floor(percent n / 100) are replaced
    key = np.where(place < length[:, None], rng.random((count, _LONGEST)), 2.0)
    rank = key.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    replaced = (rank < (percent * length // 100)[:, None]) | (labels == 0)[:, None]
    second = np.where(replaced, random, first)
    first[place >= longer[:, None]] = 0
    second[place >= length[:, None]] = 0
    return Made(
        domain="sequence",
        title=f"PREFIX-{percent}: pairs of sequences, is the second a noisy prefix of the first",
        arrays={
            "pairs": np.stack([first, second], axis=1).astype(np.uint8),
            "y": labels,
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("random words: it asks for hierarchy, not for language",),
        citation="O. Ganea, G. Becigneul, T. Hofmann, Hyperbolic neural networks, NeurIPS 2018",
    )


def parentheses(
    *,
    length: int = 32,
    kinds: int = 2,
    train: int = 4000,
    val: int = 500,
    test: int = 1000,
    seed: int = 0,
) -> Made:
    """Words of brackets, balanced or not.

    Balanced words are uniform among those of their length, and their brackets of random kinds.
    The others are balanced words with one fault: a closing bracket of another kind (where there are
    several), or an opening bracket that changes places with a later closing one, so that the
    numbers of brackets give nothing away.

    Args:
        length: tokens of a word, an even number from 4 on.
        kinds: of brackets; token 2 k + 1 opens the kind k, token 2 k + 2 closes it.
        train: words.
        val: words.
        test: words.
        seed: of everything.

    Returns:
        Arrays `tokens` (n, length), `y` (n,) 1 for balanced, `split`.

    Raises:
        ConfigError: for impossible settings.
    """
    between("length", length, 4, 10_000)
    at_least("kinds", kinds, 1)
    between("the number of tokens", 2 * kinds, 2, 255)
    between("length modulo 2", length % 2, 0, 0)
    counts = {"train": train, "val": val, "test": test}
    for name, number in counts.items():
        at_least(name, number, 1)
    rng = np.random.default_rng(seed)
    count = sum(counts.values())
    labels = rng.integers(0, 2, size=count)
    opens = _dyck(count, length, rng)
    kind = rng.integers(0, kinds, size=(count, length))
    words = np.empty((count, length), dtype=np.uint8)
    for row in range(count):
        word = _brackets(opens[row].tolist(), kind[row].tolist())
        words[row] = word if labels[row] else _faulty(word, kinds, rng)
    return Made(
        domain="sequence",
        title=f"words of {length} brackets of {kinds} kinds, balanced or not",
        arrays={
            "tokens": words,
            "y": labels,
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("a toy language of one length",),
    )


def balanced(word: list[int]) -> bool:
    """Whether every bracket of a word closes the last one that is open."""
    stack: list[int] = []
    for token in word:
        if token % 2:
            stack.append(token)
        elif not stack or stack.pop() != token - 1:
            return False
    return not stack


def _dyck(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform balanced words (count, length), True where a bracket opens.

    With r steps left at depth h, a share (r - h)(h + 2) / (2 r (h + 1)) of all ways to the end
    opens a bracket next (the ballot numbers).
    """
    opens = np.empty((count, length), dtype=bool)
    depth = np.zeros(count, dtype=np.int64)
    for step in range(length):
        left = length - step
        chance = (left - depth) * (depth + 2) / (2 * left * (depth + 1))
        opens[:, step] = rng.random(count) < chance
        depth += np.where(opens[:, step], 1, -1)
    return opens


def _brackets(opens: list[bool], kinds: list[int]) -> list[int]:
    stack: list[int] = []
    word = []
    for opening, kind in zip(opens, kinds, strict=True):
        if opening:
            stack.append(kind)
            word.append(2 * kind + 1)
        else:
            word.append(2 * stack.pop() + 2)
    return word


def _faulty(word: list[int], kinds: int, rng: np.random.Generator) -> list[int]:
    """A balanced word with one fault."""
    if kinds > 1 and rng.random() < 0.5:
        closing = [k for k, token in enumerate(word) if token % 2 == 0]
        place = closing[int(rng.integers(len(closing)))]
        other = int(rng.integers(kinds - 1))
        mine = word[place] // 2 - 1
        return [*word[:place], 2 * (other + (other >= mine)) + 2, *word[place + 1 :]]
    while True:
        first, second = sorted(int(k) for k in rng.integers(0, len(word), size=2))
        if word[first] % 2 and word[second] % 2 == 0:
            bad = list(word)
            bad[first], bad[second] = bad[second], bad[first]
            if not balanced(bad):
                return bad
