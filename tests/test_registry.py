"""Names to classes: validation of arguments, look-up, listing, plug-ins."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from torch import nn

import zoo
from zoo import _catalog, _spec, registry, share
from zoo._arguments import plain
from zoo._files import read_yaml
from zoo.errors import ConfigError, ManifestError, UnknownModelError


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Undoes registrations and plug-ins of a test."""
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)
    _spec.plugins.cache_clear()


@pytest.fixture
def widget() -> type[nn.Module]:
    @registry.register("widget")
    class Widget(nn.Module):
        def __init__(
            self,
            *,
            width: int = 4,
            scale: float = 1.0,
            kind: Literal["a", "b"] = "a",
            heads: Sequence[str] = ("x",),
            deep: bool = False,
            shape: tuple[int, float] = (1, 2.0),
            table: Mapping[str, int] | None = None,
        ) -> None:
            super().__init__()
            self.lin = nn.Linear(width, 1)
            self.seen = (width, scale, kind, heads, deep, shape, table)

    return Widget


# --- arguments -----------------------------------------------------------------------------


def test_hparams_hold_all_arguments_as_plain_values(widget: type[nn.Module]) -> None:
    model = widget(width=8, scale=2, heads=["u", "v"])
    assert model.hparams == {
        "width": 8,
        "scale": 2.0,
        "kind": "a",
        "heads": ["u", "v"],
        "deep": False,
        "shape": [1, 2.0],
        "table": None,
    }
    assert isinstance(model.hparams["scale"], float)
    assert yaml.safe_load(yaml.safe_dump(model.hparams)) == model.hparams
    assert model.architecture == "widget"
    again = widget(**model.hparams)
    assert again.hparams == model.hparams
    assert again.seen[5] == (1, 2.0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("width", 2.5, "must be int, not 2.5"),
        ("width", True, "must be int, not True"),
        ("width", "4", "must be int, not '4'"),
        ("scale", False, "must be float"),
        ("scale", "1.0", "must be float"),
        ("kind", "c", "one of 'a', 'b'"),
        ("deep", 1, "must be bool"),
        ("deep", "false", "must be bool"),
        ("heads", "energy", "a list of str"),
        ("heads", [1], "a list of str"),
        ("shape", (1, 2.0, 3), "a list of int, float"),
        ("table", {"a": 1.5}, "mapping of str to int or None"),
    ],
)
def test_ill_typed_arguments_are_refused(
    widget: type[nn.Module], name: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        widget(**{name: value})
    assert repr(name) in str(error.value) and "widget" in str(error.value)


def test_unknown_argument_offers_the_nearest(widget: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match="no argument 'widht': did you mean 'width'"):
        widget(widht=3)


def test_positional_arguments_are_refused(widget: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"Widget\(width=3"):
        widget(3)


def test_required_argument_is_named() -> None:
    @registry.register("needy")
    class Needy(nn.Module):
        def __init__(self, *, size: int) -> None:
            super().__init__()

    with pytest.raises(ConfigError, match="needs the argument 'size'"):
        Needy()


def test_a_subclass_keeps_its_own_arguments() -> None:
    @registry.register("inner")
    class Inner(nn.Module):
        def __init__(self, *, a: int = 1) -> None:
            super().__init__()

    @registry.register("outer")
    class Outer(Inner):
        def __init__(self, *, b: int = 2) -> None:
            super().__init__(a=b + 1)

    assert Outer().hparams == {"b": 2}
    assert Inner().hparams == {"a": 1}
    assert (Outer.architecture, Inner.architecture) == ("outer", "inner")


@pytest.mark.parametrize("signature", ["self, a: int = 1", "self, *, a=1", "self, **options: int"])
def test_arguments_must_be_keyword_only_and_annotated(signature: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"class Bad:\n    def __init__({signature}) -> None: ...", scope)
    with pytest.raises(ConfigError, match="keyword-only and annotated"):
        registry.register("bad")(scope["Bad"])


def test_a_taken_name_is_refused(widget: type[nn.Module]) -> None:
    class Other(nn.Module):
        def __init__(self, *, a: int = 1) -> None:
            super().__init__()

    with pytest.raises(ConfigError, match="give .*Other another name"):
        registry.register("widget")(Other)
    with pytest.raises(ConfigError, match="zoo.models.tensornet:TensorNet"):
        registry.register("tensornet")(Other)
    with pytest.raises(ConfigError, match="lower-case identifier"):
        registry.register("Tensor-Net")(Other)


# --- look-up ---------------------------------------------------------------------------------


def test_create_merges_preset_and_overrides() -> None:
    model = zoo.create("tensornet-s", num_rbf=8)
    assert (model.hparams["hidden_channels"], model.hparams["num_layers"]) == (64, 1)
    assert model.hparams["num_rbf"] == 8
    assert zoo.create("tensornet-s", num_rbf=8, num_layers=0).hparams["num_layers"] == 0


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'tensornet'.*zoo list"):
        zoo.create("tensornett")
    with pytest.raises(UnknownModelError, match="tensornet-s"):
        zoo.info("tensornet-small")
    with pytest.raises(ConfigError, match="did you mean 'num_layers'"):
        zoo.create("tensornet", num_layer=3)


def test_a_class_registered_here_is_known_here(widget: type[nn.Module]) -> None:
    assert isinstance(zoo.create("widget", width=3), widget)
    assert "widget" in zoo.list_models()
    assert zoo.info("widget")["class"].endswith("Widget")
    assert registry.hyperparameters("widget")["width"] == {"type": "int", "default": 4}


@pytest.mark.parametrize("name", sorted(_spec.shipped()))
def test_shipped_specs_agree_with_their_classes(name: str) -> None:
    spec = _spec.shipped()[name]
    cls = registry.get_class(spec)
    assert cls.architecture == name
    parameters = registry.hyperparameters(name)
    for preset, overrides in spec.presets.items():
        assert preset.startswith(f"{name}-")
        assert set(overrides) <= set(parameters)
        for key, value in overrides.items():  # a preset repeats no default
            assert parameters[key]["default"] != value
        expected = {key: entry["default"] for key, entry in parameters.items()} | overrides
        assert zoo.create(preset).hparams == plain(expected)
    zoo.create(name, **spec.test_config)
    assert spec.path is not None and spec.path.with_suffix(".md").is_file(), "the card is missing"


def test_names_are_unique_across_specs() -> None:
    names = [*_spec.names(registry.specs()), *_catalog.checkpoints()]
    assert len(set(names)) == len(names)


SPEC = {
    "class": "zoo_plugin_for_test.model:Model",
    "domain": "atoms",
    "title": "Plugged",
    "paper": {"title": "None", "year": 2024},
    "symmetry": {"group": "SE(3)"},
    "aliases": ["plug++"],
    "presets": {"plugged-xl": {"width": 9}},
}


def write_spec(path: Path, **changes: object) -> Path:
    values = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"presetz": {}}, "unknown key 'presetz': did you mean 'presets'"),
        ({"domain": "atom"}, "unknown domain 'atom': did you mean 'atoms'"),
        ({"class": "no colon"}, "package.module:Class"),
        ({"class": None}, "'class' is missing"),
        ({"symmetry": {}}, "symmetry.group"),
        ({"symmetry": {"group": "O(3)", "option": []}}, "symmetry.option is unknown"),
        ({"paper": {"arxif": "1"}}, "paper.arxif is unknown: did you mean 'arxiv'"),
        ({"presets": {"a": 3}}, "presets.a"),
        ({"presets": [1]}, "presets must be a dict"),
        ({"aliases": "word"}, "aliases must be a list"),
        ({"conservative": "yes"}, "conservative must be a bool"),
        ({"tolerances": {"rotation": {"float16": 1}}}, "tolerances.rotation"),
    ],
)
def test_broken_specs_name_file_and_key(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = write_spec(tmp_path / "plugged.yaml", **changes)
    with pytest.raises(ConfigError, match=words) as error:
        _spec.parse(path)
    assert str(path) in str(error.value)


# --- plug-ins --------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that brings an architecture through an entry point."""
    package = tmp_path / "zoo_plugin_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        "def spec():\n"
        "    return Path(__file__).with_name('plugged.yaml')\n"
    )
    (package / "model.py").write_text(
        "from torch import nn\n"
        "from zoo.registry import register\n"
        "@register('plugged')\n"
        "class Model(nn.Module):\n"
        "    def __init__(self, *, width: int = 2) -> None:\n"
        "        super().__init__()\n"
    )
    write_spec(package / "plugged.yaml")
    info = tmp_path / "zoo_plugin_for_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: zoo-plugin-for-test\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[zoo.architectures]\nplugged = zoo_plugin_for_test:spec\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _spec.plugins.cache_clear()
    yield package
    for name in [name for name in sys.modules if name.startswith("zoo_plugin_for_test")]:
        del sys.modules[name]


def test_other_packages_register_through_entry_points(plugin: Path) -> None:
    assert {"plugged", "plugged-xl"} <= set(zoo.list_models())
    assert "zoo_plugin_for_test.model" not in sys.modules  # listing imports no model
    assert zoo.list_models(symmetry="se3") == ["plugged", "plugged-xl"]
    assert zoo.create("plugged-xl").hparams == {"width": 9}
    assert zoo.create("plug++").hparams == {"width": 2}


def test_a_broken_plugin_is_left_out_with_a_warning(plugin: Path) -> None:
    write_spec(plugin / "plugged.yaml", domain="nowhere")
    with pytest.warns(RuntimeWarning, match="zoo-plugin-for-test.*unknown domain 'nowhere'"):
        names = zoo.list_models()
    assert "tensornet" in names and "plugged" not in names


def test_a_plugin_may_not_take_a_shipped_name(plugin: Path) -> None:
    (plugin / "plugged.yaml").rename(plugin / "tensornet.yaml")
    (plugin / "__init__.py").write_text(
        "from pathlib import Path\nspec = str(Path(__file__).with_name('tensornet.yaml'))\n"
    )
    with pytest.warns(RuntimeWarning, match="'tensornet' is taken"):
        assert registry.specs()["tensornet"].class_path == "zoo.models.tensornet:TensorNet"


def test_a_spec_whose_class_is_not_registered_by_its_name(plugin: Path) -> None:
    write_spec(plugin / "plugged.yaml", **{"class": "zoo_plugin_for_test.model:Missing"})
    with pytest.raises(ConfigError, match="must be a class decorated with"):
        zoo.create("plugged")


# --- listing ---------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shipped manifests, as the listing sees them."""
    for name, symbols, terms in (
        ("tensornet-s.one.r1", ["H", "C"], "Apache-2.0"),
        ("tensornet-2l.two.r1", ["H", "C", "Cl"], "CC-BY-4.0"),
    ):
        entry = {
            "name": name,
            "architecture": "tensornet",
            "spec_version": 1,
            "inputs": {"elements": dict.fromkeys(symbols, 5)},
            "license": {"weights": terms},
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    (tmp_path / "_urls.yaml").write_text("bases: []\n")
    real = share.folder
    monkeypatch.setattr(share, "folder", lambda k: tmp_path if k == "checkpoints" else real(k))
    return tmp_path


def test_listing_filters(weights: Path) -> None:
    both = ["tensornet-2l.two.r1", "tensornet-s.one.r1"]
    assert zoo.list_models(pretrained=True) == both
    assert zoo.list_models("*TWO*", pretrained=True) == both[:1]
    assert zoo.list_models(["*two*", "*one*"], pretrained=True) == both
    assert zoo.list_models(pretrained=True, elements="H,C,Cl") == both[:1]
    assert zoo.list_models(pretrained=True, elements="Cl") == both[:1]
    assert zoo.list_models(pretrained=True, elements=["H", "C"]) == both
    assert zoo.list_models(pretrained=True, elements=[1, 17]) == both[:1]
    assert zoo.list_models(pretrained=True, license="apache-2.0") == both[1:]
    assert zoo.list_models(pretrained=True, domain="points") == []
    assert zoo.list_models(pretrained=True, symmetry="SO(3)") == both
    # without pretrained: what has matching weights
    assert zoo.list_models(elements="Cl") == ["tensornet", "tensornet-2l"]
    assert zoo.list_models("tensor*-s", domain="atoms") == ["tensornet-s"]


def test_listing_refuses_what_does_not_exist(weights: Path) -> None:
    with pytest.raises(ConfigError, match="unknown domain 'atom'"):
        zoo.list_models(domain="atom")
    with pytest.raises(ConfigError, match=r"'O\(4\)': known: .*O\(3\)"):
        zoo.list_models(symmetry="O(4)")
    with pytest.raises(ConfigError, match="'Xx' is no chemical element"):
        zoo.list_models(elements="H,Xx")
    with pytest.raises(ConfigError, match="no chemical element"):
        zoo.list_models(elements=[0])


def test_info_and_card_of_every_kind(weights: Path) -> None:
    architecture = zoo.info("tensornet")
    assert architecture["kind"] == "architecture"
    assert architecture["checkpoints"] == ["tensornet-2l.two.r1", "tensornet-s.one.r1"]
    preset = zoo.info("tensornet-s")
    assert (preset["kind"], preset["architecture"]) == ("preset", "tensornet")
    assert preset["checkpoints"] == ["tensornet-s.one.r1"]
    assert zoo.info("tensornet-s.one.r1")["inputs"]["elements"] == {"H": 5, "C": 5}
    assert zoo.card("tensornet").startswith("# TensorNet")
    assert "Apache-2.0" in zoo.card("tensornet-s.one.r1")


def test_a_checkpoint_is_not_created(weights: Path) -> None:
    with pytest.raises(UnknownModelError, match="zoo.load"):
        zoo.create("tensornet-s.one.r1")


def test_a_path_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no manifest.yaml"):
        zoo.info(tmp_path)
    with pytest.raises(ManifestError, match="there is no manifest"):
        zoo.card(str(tmp_path / "manifest.yaml"))


def test_shipped_urls_file_is_well_formed() -> None:
    assert isinstance(read_yaml(share.folder("checkpoints") / "_urls.yaml")["bases"], list)
