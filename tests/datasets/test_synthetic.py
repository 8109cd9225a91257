"""Data sets that are computed: the same numbers for the same seed, and what their cards say."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo.datasets as zd
from zoo.datasets import synthetic
from zoo.datasets.synthetic import KINDS, generate
from zoo.datasets.synthetic._made import settled
from zoo.datasets.synthetic.rotations import from_quaternions
from zoo.datasets.synthetic.words import balanced
from zoo.errors import ConfigError, OutputError, UnknownNameError

SMALL: dict[str, dict[str, Any]] = {
    "balanced-tree": {"branching": 2, "depth": 3},
    "sir-tree": {"nodes": 40},
    "csbm": {"nodes": 60, "features": 3, "folds": 2, "degree": 4.0},
    "csbm-10": {"nodes": 60, "features": 3, "folds": 2, "degree": 4.0},
    "csbm-80": {"nodes": 60, "features": 3, "folds": 2, "degree": 4.0},
    "bipartite": {"nodes": 40, "features": 3, "folds": 2, "degree": 4.0},
    "graph-counting": {"train": 6, "val": 2, "test": 2},
    "hyperelastic": {"train": 20, "val": 5, "test": 5},
    "ring-signals": {"train": 20, "val": 5, "test": 5},
    "inertia": {"train": 20, "val": 5, "test": 5},
    "prefix": {"train": 20, "val": 5, "test": 5},
    "prefix-10": {"train": 20, "val": 5, "test": 5},
    "prefix-30": {"train": 20, "val": 5, "test": 5},
    "prefix-50": {"train": 20, "val": 5, "test": 5},
    "parentheses": {"train": 20, "val": 5, "test": 5, "length": 8},
    "eeg-like": {"trials": 5, "times": 32, "subjects": 2, "sessions": 2},
    "radar-like": {"samples": 8, "times": 40},
    "subspaces": {"samples": 10},
    "rotations": {"train": 20, "val": 5, "test": 5},
    "nbody": {"train": 20, "val": 5, "test": 5},
    "o3-volumes": {"train": 20, "val": 5, "test": 5},
    "o5-regression": {"train": 20, "val": 5, "test": 5},
    "o5-hulls": {"train": 20, "val": 5, "test": 5},
    "csmpn-hulls": {"train": 20, "val": 5, "test": 5},
    "tetris-like": {"train": 20, "val": 5, "test": 5},
    "toy-jets": {"train": 20, "val": 5, "test": 5},
    "waves": {"train": 20, "val": 5, "test": 5, "size": 8},
    "burgers": {"train": 3, "val": 2, "test": 2, "resolution": 16, "fine": 32},
    "darcy": {"train": 3, "val": 2, "test": 2, "resolution": 9, "stride": 2},
    "bars-and-stripes": {"train": 20, "val": 5, "test": 5},
    "digits": {},
    "digits-cov": {},
}
# chaotic: rounding, which machines differ in, shows in a few numbers; see test_nbody.py
CHAOTIC = {"nbody"}
# content hashes of SMALL with the usual seed, on every platform
HASHES: dict[str, str] = {
    "balanced-tree": "0b5ac829ab75db00ad64a49880979f54f58d7d5b0ac3a97572ba1b6980ad945b",
    "sir-tree": "728da763319d73cc2214a8d67e40655ce099aed1311d41ba37168d59c88238ec",
    "csbm": "a6ace9ceb2987ec0f510d25f0c99e0a6a8ff4c1a9e6542e062abcb3c45ef761a",
    "csbm-10": "a6ace9ceb2987ec0f510d25f0c99e0a6a8ff4c1a9e6542e062abcb3c45ef761a",
    "csbm-80": "a8a7d829a5b1dd00937d5047ac5eac61e254319c0a583aac69f8bd5facb97426",
    "bipartite": "f0f8dad766b89818a153853a1a6e72f3ae4e4066512af3781cf45ae59ca8920b",
    "graph-counting": "a6e058168831859a14b415dce661704d2f5876609c632e50a84026c5ee784e62",
    "hyperelastic": "98999e15c5fcf2e02470b945d3535a85e7e67da0ccd8bba78f598b14c3dc6d85",
    "ring-signals": "536abc0f02430b3ed4917ddb9bfc51aad465c854ce3b2f7cfd05cb5bef59e38b",
    "inertia": "324ce615f351424f0b93b0d450be93379518dc5f675cb15003945c448c14ffe9",
    "prefix": "9fd8ca004b81673f6765a1bc4916d80b8a5bb0b69607d0fdabb63e46e5d1bc15",
    "prefix-10": "9fd8ca004b81673f6765a1bc4916d80b8a5bb0b69607d0fdabb63e46e5d1bc15",
    "prefix-30": "2aaaf867a232cd2bec1d8aebd7388689ae7148c3d779807f9223a2f01c0bfd0c",
    "prefix-50": "abe538aaf84875a7c60e096d833b55fdb5edb9360b184a0302f659ee49140678",
    "parentheses": "5fbc5e892ce7583e37e7a337f2078ed2feedf4e6cd887f18f8d08f76c06f4aa2",
    "eeg-like": "327a96bd107d2f0e8c7b9607ad17875cc3f5cd508828a509b8249024890b8024",
    "radar-like": "2c2b6072ae44c70275aea8ab8055cc3e3e5f345ef3d7b6fa6a40ebc8d37c1172",
    "subspaces": "61419929dd7f40498a8813627a3a357f3be69ecf203f8285a9eab9358e0273f8",
    "rotations": "3f5e33d270d5e4224779be2c5f6fb815509709a149b7a000e6f4b9ae1644e295",
    "o3-volumes": "7d07aa44367cda9f7562cf55c7473f27bb335368657042777b94f90667c38153",
    "o5-regression": "cf4998f5743458c4fab47f203f167cc8d289b3825538283a95d64bb0003cd87a",
    "o5-hulls": "ed50bebdfa832fc5c55ea314413c587712be495cf68c1478de2620fb8723dfb0",
    "csmpn-hulls": "82b327aaddffdcab0a37fd11077646fca7cdac2112c78249fabdde3ccf857d51",
    "tetris-like": "708c820524470ea541b58eca0c4b8d3be03aa20535f621f14b70b29927c4a68e",
    "toy-jets": "52c1fbd041140952da7f28f9c6368932ece8aac66e52639516e98d6b20176b60",
    "waves": "9a4080b8b2503c0bbfe88094e4e4d43a29f220bd7d425330f3defd253e619ba5",
    "burgers": "978ba3c41f5f6536b690a44b63cc0c8346fe5915cef59ecfbea70bb6a566ee20",
    "darcy": "9105c4cb0c42d72a230c75728ea3a9291f124f74767816764a23d884b5cee0b6",
    "bars-and-stripes": "154e28fcf3c28441bf8d6737e6c764616838e9e8a0d5353e3c602fb896b57046",
    "digits": "5c1c067ab09909877c9c66b449169e931a03cdf4caaf1d92d611152bc305b782",
    "digits-cov": "f394fbc28940a65dcecae3f89495e2f2adafd149ff9e7e0d6988eb0af4e0b85e",
}


def make(kind: str, **settings: Any) -> zd.DomainDataset:
    if kind.startswith("digits"):
        pytest.importorskip("sklearn")
    return zd.make(kind, **(SMALL[kind] | settings))


def test_all_kinds_are_here() -> None:
    assert set(SMALL) == set(KINDS) == set(HASHES) | CHAOTIC
    for name, kind in KINDS.items():
        assert kind.summary and "seed" in kind.settings
        documented = inspect.getdoc(kind.function) or ""
        assert all(f"{setting}:" in documented for setting in kind.settings), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_numbers(kind: str) -> None:
    dataset = make(kind)
    assert kind in CHAOTIC or dataset.hash == HASHES[kind]
    dataset.check()
    for key in ("title", "source", "licence", "limits"):
        assert dataset.metadata[key], key
    other = make(kind, seed=1)
    assert other.hash != dataset.hash or kind.startswith("digits")
    assert other.split_hash != dataset.split_hash or not dataset.splits or kind in _FIXED


_FIXED = ("prefix", "prefix-10", "prefix-30", "prefix-50", "parentheses", "rotations", "nbody")
_FIXED += ("o3-volumes", "o5-regression", "o5-hulls", "csmpn-hulls", "tetris-like", "waves")
_FIXED += ("toy-jets", "bars-and-stripes", "graph-counting", "hyperelastic")
_FIXED += ("ring-signals", "burgers", "darcy", "inertia")


@pytest.mark.parametrize("kind", ["sir-tree", "eeg-like", "rotations"])
def test_a_set_is_written_with_its_description(kind: str, tmp_path: Path) -> None:
    made = generate(kind, tmp_path / "a.npz", **SMALL[kind], seed=3)
    assert made.hash == make(kind, seed=3).hash and made.split_hash == make(kind, seed=3).split_hash
    again = zd.open(tmp_path / "a.yaml")
    assert again.hash == made.hash and again.metadata["samples"] == len(made)
    generation = again.metadata["generation"]
    assert generation["hash"] == made.hash and generation["settings"]["seed"] == 3
    assert "--seed 3" in generation["command"] and "--set " in generation["command"]
    first = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        generate(kind, tmp_path / "a.npz", **SMALL[kind])
    generate(kind, tmp_path / "a.npz", **SMALL[kind], seed=3, overwrite=True)
    assert (tmp_path / "a.npz").read_bytes() == first


SHIPPED = [name for name in KINDS if name in zd.shipped()]
# seconds or minutes each; their small siblings are compared above
SLOW = {"o5-hulls", "csmpn-hulls", "burgers", "darcy"}
REMADE = [name for name in SHIPPED if name not in CHAOTIC | SLOW]


def test_what_ships() -> None:
    assert set(SHIPPED) == set(KINDS) - {"prefix"}


@pytest.mark.parametrize("name", REMADE)
def test_shipped_sets_come_from_their_generators(name: str) -> None:
    if name.startswith("digits"):
        pytest.importorskip("sklearn")
    dataset = zd.open(name)
    told = dataset.metadata["generation"]
    assert told["hash"] == dataset.hash and told["command"].startswith(f"zoo data generate {name} ")
    assert zd.make(name, **told["settings"]).hash == dataset.hash


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"brunching": 2}, "no setting 'brunching': did you mean 'branching'"),
        ({"depth": 2.5}, "balanced-tree: depth is 2.5; expected int"),
        ({"depth": True}, "depth is True"),
        ({"depth": 0}, "depth is 0; it must be at least 1"),
        ({"branching": 30, "depth": 9}, "the number of nodes is .* between 2 and 1000000"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make("balanced-tree", **settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("sir-tree", {"transmission": 1.5}),
        ("sir-tree", {"nodes": 3}),
        ("eeg-like", {"channels": 3}),
        ("eeg-like", {"times": 10}),
        ("radar-like", {"classes": 40}),
        ("subspaces", {"dimension": 15}),
        ("parentheses", {"length": 7}),
        ("prefix-10", {"train": 0}),
        ("prefix-10", {"percent": 20}),
        ("rotations", {"test": 0}),
        ("digits-cov", {"shrinkage": 0.0}),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        zd.make(kind, **settings)


def test_unknown_kinds(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'subspaces'"):
        zd.make("subspace")
    with pytest.raises(ConfigError, match="should end in one of .npz"):
        generate("subspaces", tmp_path / "a.csv")


def test_numbers_lie_on_a_coarse_grid() -> None:
    array = np.random.default_rng(0).normal(size=1000)
    exact = settled(array, 10)
    assert np.array_equal(exact * 1024, np.rint(exact * 1024))
    # differences in the last digit of a computation don't show
    assert np.array_equal(settled(array * (1 + 4e-16), 10), exact)
    assert np.abs(exact - array).max() <= 2**-11


# --- trees -------------------------------------------------------------------------------------


def test_balanced_tree() -> None:
    graph = make("balanced-tree", branching=3, depth=3)[0]
    assert graph.x.shape == (40, 8) and graph.edge_index.shape == (2, 78)
    degrees = Counter(torch.bincount(graph.edge_index[0]).tolist())
    assert degrees == {1: 27, 4: 12, 3: 1}
    pairs = set(map(tuple, graph.edge_index.T.tolist()))
    assert all((b, a) in pairs and a != b for a, b in pairs)
    dataset = make("balanced-tree", branching=3, depth=3)
    level = dataset._store.row_columns["level"]
    assert Counter(level.tolist()) == {0: 1, 1: 3, 2: 9, 3: 27}
    first, second = level[graph.edge_index.numpy()]
    assert (np.abs(first - second) == 1).all()


def test_an_infection_comes_from_the_parent() -> None:
    dataset = zd.make("sir-tree", nodes=600, seed=4)
    graph = dataset[0]
    level, edges = dataset._store.row_columns["level"], graph.edge_index.numpy()
    up = edges[:, level[edges[1]] < level[edges[0]]]
    assert up.shape[1] == 599
    infected = graph.y.numpy()
    assert (infected[up[1]] >= infected[up[0]]).all() and infected[level == 0] == 1
    assert 0 < infected.mean() < 1
    sizes = {name: int(graph[f"{name}_mask"].sum()) for name in ("train", "val", "test")}
    assert sizes == {"train": 180, "val": 60, "test": 360}
    shares = [float(graph.y[graph[f"{n}_mask"]].float().mean()) for n in sizes]
    assert max(shares) - min(shares) < 0.02
    everyone = zd.make("sir-tree", nodes=100, transmission=1.0, noise=0.0)[0]
    assert everyone.y.float().mean() > 0.9


# --- sequences ---------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [10, 30, 50, 100])
def test_prefixes(percent: int) -> None:
    dataset = zd.make("prefix", percent=percent, train=2000, val=10, test=10)
    pairs = np.stack([dataset[k]["x"].numpy() for k in range(2000)])
    lengths = np.stack([dataset[k]["lengths"].numpy() for k in range(2000)])
    labels = dataset.label("y")[:2000]
    assert pairs.shape == (2000, 2, 20) and pairs.max() <= 100
    assert (lengths[:, 1] <= lengths[:, 0]).all() and lengths.min() == 1 and lengths.max() == 20
    inside = np.arange(20) < lengths[:, 1, None]
    changed = ((pairs[:, 0] != pairs[:, 1]) & inside).sum(axis=1)
    allowed = percent * lengths[:, 1] // 100
    assert (changed[labels == 1] <= allowed[labels == 1]).all()
    # of a hundred random words one is the same by chance
    assert changed[labels == 1].sum() / max(allowed[labels == 1].sum(), 1) > 0.97
    assert changed[labels == 0].sum() / lengths[labels == 0, 1].sum() > 0.97
    assert 0.45 < labels.mean() < 0.55


def test_the_sizes_of_the_paper() -> None:
    settings = KINDS["prefix-10"].settings
    assert (settings["train"], settings["val"], settings["test"]) == (500_000, 10_000, 10_000)


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_brackets(kinds: int) -> None:
    dataset = zd.make("parentheses", kinds=kinds, length=12, train=300, val=10, test=10)
    words = [dataset[k]["x"].tolist() for k in range(320)]
    labels = dataset.label("y")
    assert [balanced(word) for word in words] == labels.astype(bool).tolist()
    for word, label in zip(words, labels, strict=True):
        if not label:  # the numbers of brackets give nothing away
            assert sum(token % 2 for token in word) == 6
    assert 0.4 < labels.mean() < 0.6
    assert not balanced([1]) and not balanced([2, 1]) and balanced([1, 3, 4, 2])


def test_balanced_words_are_uniform() -> None:
    """Of length 6 there are five (the Catalan number), each as often."""
    dataset = zd.make("parentheses", kinds=1, length=6, train=4000, val=1, test=1)
    labels = dataset.label("y")
    words = Counter(tuple(dataset[int(k)]["x"].tolist()) for k in np.flatnonzero(labels))
    assert len(words) == 5
    expected = labels.sum() / 5
    assert all(abs(count - expected) < 5 * expected**0.5 for count in words.values())


# --- signals, matrices, rotations ----------------------------------------------------------------


def test_signals_of_sessions() -> None:
    dataset = make("eeg-like")
    assert dataset.domain == "signal" and dataset[0]["x"].shape == (8, 32)
    assert Counter(dataset.label("y").tolist()) == dict.fromkeys(range(4), 20)
    sessions, who = dataset.columns["session"], dataset.columns["subject"]
    assert set(sessions) == set(who) == {"1", "2"}
    domain = np.array([int(dataset[k]["domain"]) for k in range(len(dataset))])
    pairs = {(d, s, w) for d, s, w in zip(domain.tolist(), sessions, who, strict=True)}
    assert len(pairs) == 4 and set(domain) == {0, 1, 2, 3}
    assert set(sessions[dataset.splits["test"]]) == {"2"}
    alone = zd.make("eeg-like", sessions=1, trials=3, times=32)
    assert alone.splits == {}


def test_a_session_mixes_by_a_congruence() -> None:
    """Without shift, noise and jitter, sessions of one subject have one covariance."""
    quiet = {"subjects": 1, "sessions": 2, "trials": 60, "noise": 0.0, "jitter": 0.0}

    def distance(shift: float) -> float:
        dataset = zd.make("eeg-like", shift=shift, **quiet)
        x = np.stack([dataset[k]["x"].numpy() for k in range(len(dataset))]).astype(float)
        means = [np.einsum("kct,kdt->cd", part, part) for part in np.split(x, 2)]
        return float(np.abs(np.log(np.linalg.eigvals(np.linalg.solve(*means)).real)).max())

    assert distance(0.0) < 0.35 < distance(0.5)


def test_class_by_power_and_by_phase() -> None:
    """The phase of a class shows in a covariance of delayed copies only."""
    arrays = synthetic.eeg_like(
        subjects=1, sessions=1, trials=200, noise=0.0, shift=0.0, jitter=0.0
    ).arrays
    x, y = arrays["X"].astype(float), arrays["y"]

    def mean(late: int, which: np.ndarray) -> np.ndarray:
        first, second = x[which][:, :, : 128 - late], x[which][:, :, late:]
        return np.asarray(np.einsum("kct,kdt->cd", first, second) / first.shape[0] / first.shape[2])

    even, odd = np.isin(y, (0, 2)), np.isin(y, (1, 3))
    skew = [np.abs(m - m.T).max() for m in (mean(3, even) - mean(3, odd), mean(0, even))]
    assert skew[0] > 1.0 and skew[1] < 1e-9


def test_radar() -> None:
    dataset = make("radar-like")
    assert dataset[0]["x"].shape == (2, 40) and set(dataset.label("y")) == {0, 1, 2}
    pure = synthetic.radar_like(samples=2, clutter=0.0, noise=0.0, times=64).arrays["X"]
    loud = np.hypot(pure[:, 0], pure[:, 1])
    assert np.abs(loud - loud.mean(axis=1, keepdims=True)).max() < 0.01


def test_subspaces() -> None:
    dataset = make("subspaces", spread=0.8, noise=0.0)
    bases = np.stack([dataset[k]["x"].numpy() for k in range(len(dataset))]).astype(float)
    assert dataset.metadata["kind"] == "bases" and bases.shape == (60, 20, 4)
    clusters = dataset.label("y") * 2 + dataset.columns["cluster"]
    projectors = bases @ bases.swapaxes(1, 2)
    for cluster in range(12):  # without noise a cluster is one subspace, given by many bases
        members = projectors[clusters == cluster]
        assert np.abs(members - members[0]).max() < 1e-5
        assert np.abs(bases[clusters == cluster][0] - bases[clusters == cluster][1]).max() > 0.1
    cosines = np.linalg.svd(bases[0].T @ bases[1:], compute_uv=False).clip(0, 1)
    angles = np.sqrt((np.arccos(cosines) ** 2).sum(axis=-1))
    assert angles.max() <= 1.6 + 1e-6  # both 0.8 from one subspace


def test_digits() -> None:
    sets = pytest.importorskip("sklearn.datasets")
    dataset, matrices = make("digits"), make("digits-cov")
    given = sets.load_digits()
    x = np.stack([dataset[k]["x"].numpy() for k in range(1797)])
    assert np.array_equal(x[:, 0] * 16, given.images) and x.dtype == np.float32
    assert np.array_equal(dataset.label("y"), given.target)
    assert dataset.split_hash == matrices.split_hash and matrices.metadata["kind"] == "spd"
    assert {name: len(part) for name, part in dataset.splits.items()} == {
        "train": 1078, "val": 269, "test": 450
    }  # fmt: skip


def test_rotations() -> None:
    dataset = make("rotations", train=3000)
    x = np.stack([dataset[k]["x"].numpy() for k in range(3000)]).reshape(-1, 3, 3).astype(float)
    assert torch.equal(dataset[5]["x"], dataset[5]["y"])
    assert np.abs(x @ x.swapaxes(1, 2) - np.eye(3)).max() < 1e-6
    assert np.abs(np.linalg.det(x) - 1).max() < 1e-6
    # uniform on SO(3): the mean of the matrix is 0, that of the squared trace 1
    assert np.abs(x.mean(axis=0)).max() < 0.05
    assert abs((np.trace(x, axis1=1, axis2=2) ** 2).mean() - 1) < 0.1
    quarter = from_quaternions(np.array([[1.0, 0, 0, 1]]))[0]
    assert np.allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
