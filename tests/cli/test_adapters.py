"""`zoo finetune --method adapter`, and the verbs on what it leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import zoo

Cli = Callable[..., tuple[int, str, str]]


def test_adapters_from_the_shell(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    words = ["--set", "splits={kind: assigned, key: trajectory}", "--set", "batch_size=4"]
    words += ["--epochs", 2, "--method", "adapter:kind=lora,r=1", "--merge"]
    code, text, err = cli("finetune", weights, frames, "-o", out, *words)
    assert code == 0, err
    assert text.splitlines()[-1] == f"wrote {out}"
    entry = json.loads(cli("info", out, "--json")[1])["adapter"]
    assert (entry["kind"], entry["rank"], entry["base"]["name"]) == (
        "lora",
        1,
        "tensornet-t.test.r1",
    )
    assert "lora adapters of rank 1" in cli("info", out, "--card")[1]
    assert (out / "model.safetensors").stat().st_size < 300_000
    for place in (out, out / "merged"):
        code, _, err = cli("predict", place, frames, "-o", tmp_path / f"{place.name}.extxyz")
        assert code == 0, err
    found = [(tmp_path / f"{name}.extxyz").read_text() for name in ("tuned", "merged")]
    assert found[0] == found[1].replace("tuned/merged", "tuned")
    assert cli("verify", out, "--check", "golden")[0] == 0
    assert zoo.load(out / "merged").manifest.adapter is None


def test_what_is_wrong_is_said(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    start = ["finetune", weights, frames, "-o", tmp_path / "out"]
    for words, part in [
        (["--method", "adapter:rank=4"], "no option 'rank=4'"),
        (["--method", "adapter:r=500"], "nothing can be adapted with lora of rank 500"),
        (["--method", "adapter:targets=layer.*"], "did you mean 'layers.*'"),
        (["--method", "full", "--merge"], "merge is for method='adapter'"),
    ]:
        code, text, err = cli(*start, *words)
        assert (code, text) == (1, ""), words
        assert part in err and "Traceback" not in err
