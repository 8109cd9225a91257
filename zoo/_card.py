"""Cards: the same facts as the YAML, as Markdown for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def architecture(entry: Mapping[str, Any]) -> str:
    """The card of an architecture that ships none, from `zoo.info`."""
    paper = entry["paper"]
    lines = [
        f"# {entry['title']}",
        "",
        f"{paper.get('authors', '')}: {paper['title']}. {paper.get('venue', '')} "
        f"{paper.get('year', '')}".strip()
        if "title" in paper
        else "",
        "",
        f"- domain: {', '.join([entry['domain'], *entry.get('accepts', ())])}",
        f"- symmetry: {entry['symmetry'].get('group')}",
    ]
    if "conservative" in entry:
        lines.append(f"- conservative forces: {'yes' if entry['conservative'] else 'no'}")
    sections = ["\n".join(lines), _list("Presets", [str(name) for name in entry["presets"]])]
    sections.append(_list("Weights", entry["checkpoints"]))
    if entry["notes"]:
        sections.append(f"## Notes\n\n{entry['notes']}")
    return _join(sections)


def checkpoint(entry: Mapping[str, Any], *, place: str | None = None) -> str:
    """The card of trained weights, from their manifest as a plain mapping.

    Args:
        entry: the manifest.
        place: what to load it by, if not by its name.

    Returns:
        Markdown: how to load it, what it takes and gives, measured errors, training data,
        limits, licences, the measured certificate, citations and files.
    """
    name = entry["name"]
    head = f"# {name}\n\n```python\nmodel = zoo.load({place or name!r})\n```"
    inputs = entry.get("inputs") or {}
    domain = inputs.get("domain", "atoms")
    return _join(
        [
            head,
            _origin(entry),
            _inputs(inputs),
            _outputs(entry.get("outputs") or {}, entry.get("classes") or []),
            _metrics(entry.get("metrics") or [], domain),
            _training(entry.get("training") or {}),
            _list("Limits", entry.get("limits") or []),
            _pairs("Licence", entry.get("license") or {}),
            _trust(entry.get("trust")),
            _certificate(entry.get("certificate")),
            _list("Citation", entry.get("citation") or []),
            _files(entry),
        ]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; bars inside cells are escaped."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _join(sections: Sequence[str]) -> str:
    return "\n\n".join(section for section in sections if section) + "\n"


def _list(title: str, items: Sequence[Any]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {item}" for item in items) if items else ""


def _pairs(title: str, mapping: Mapping[str, Any]) -> str:
    return _list(title, [f"{key}: {value}" for key, value in mapping.items() if value is not None])


def _origin(entry: Mapping[str, Any]) -> str:
    lines = [f"Weights of `{entry['architecture']}` (spec version {entry.get('spec_version', 1)})."]
    parent = entry.get("derived_from")
    if parent:
        lines.append(f"Fine-tuned from `{parent['name']}`.")
    authors = entry.get("authors")
    if authors:
        lines += _authors(authors)
    config = entry.get("config") or (authors or {}).get("config") or {}
    if config:
        lines.append("\n" + table(["argument", "value"], list(config.items())))
    adapter = entry.get("adapter")
    if adapter:
        base, numbers = adapter["base"], adapter["parameters"]
        lines.append(
            f"\nThe file holds {adapter['kind']} adapters of rank {adapter['rank']} ({numbers} "
            f"numbers on {adapter['adapted']} weights) for `{base['name']}` (sha256 "
            f"{base['sha256']}), which has to be at hand."
        )
    members = entry.get("ensemble")
    if members:
        names = [f"`{item['name']}`" for item in members.get("joined") or []]
        words = f": {', '.join(names)}" if names else ""
        lines.append(f"\nAn ensemble of {members['members']} members{words}.")
    return "\n".join(lines)


def _authors(authors: Mapping[str, Any]) -> list[str]:
    """Where the authors' files lie, and that nobody here has run them."""
    lines = [
        "The authors' own weights. Loading them downloads the files below once, reads them without "
        f"executing them and converts them (source {authors['converter']}). They were not run by "
        "us: nothing below was measured here. `zoo verify` measures them on your machine."
    ]
    for part in [authors, *authors.get("parts", ())]:
        if part.get("sha256"):
            state = f"sha256 {part['sha256']}"
        elif part.get("git"):
            state = f"git id {part['git']}"
        else:
            state = "its digest is **unverified**: none is published"
        lines.append(f"\n- <{part['url']}>; {state}")
    for title, key in (("As published", "published"), ("Read in", "read_in")):
        if authors.get(key):
            lines += [f"\n{title}:\n", *(f"- {item}" for item in authors[key])]
    return lines


def _inputs(inputs: Mapping[str, Any]) -> str:
    if not inputs:
        return ""
    domain = inputs.get("domain", "atoms")
    lines = _atoms(inputs) if domain == "atoms" else _samples(inputs)
    return _pairs("Inputs", {"domain": domain, **lines})


def _atoms(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "periodicity": ", ".join(inputs.get("pbc") or []) or None,
        "total charge": "yes" if inputs.get("charge") else "neutral only",
        "elements (atoms seen)": ", ".join(
            f"{symbol} ({count})" for symbol, count in (inputs.get("elements") or {}).items()
        )
        or None,
    }


def _samples(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "shape of a sample": shape(inputs),
        "tokens": inputs.get("tokens"),
        "features": ", ".join(inputs.get("features") or []) or None,
        "standardised": ", ".join(inputs.get("normalisation") or []) or None,
    }


def shape(inputs: Mapping[str, Any]) -> str | None:
    """The shape of a sample in words, such as "8 x 8" or "any x 3"; None where it is free."""
    axes = inputs.get("shape")
    if axes is None:
        return None
    return " x ".join("any" if axis is None else str(axis) for axis in axes) or "a number"


def _outputs(outputs: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> str:
    if not outputs:
        return ""
    rows = []
    for name, output in outputs.items():
        notes = [output.get("kind"), output.get("level_of_theory")]
        if output.get("default"):
            notes.append("the default head")
        if output.get("conservative") is not None:
            notes.append("conservative" if output["conservative"] else "direct, not conservative")
        if name == "logits" and classes:
            notes.append(f"classes: {', '.join(classes)}")
        rows.append([name, output.get("unit"), ", ".join(note for note in notes if note)])
    return "## Outputs\n\n" + table(["output", "unit", "what"], rows)


def _metrics(metrics: Sequence[Mapping[str, Any]], domain: str) -> str:
    if not metrics:
        return ""
    columns = ["dataset", "split", "target", "name", "value", "unit"]
    optional = ["std", "n_seeds", "paper_value", "paper_where", "status"]
    columns += [key for key in optional if any(row.get(key) is not None for row in metrics)]
    rows = [[row.get(key) for key in columns] for row in metrics]
    title = "Measured errors" if domain == "atoms" else "Measured"  # accuracies are no errors
    return f"## {title}\n\n" + table([key.replace("_", " ") for key in columns], rows)


def _training(training: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in training.items() if key != "data"}
    for index, data in enumerate(training.get("data") or []):
        frames = f", {data['frames']} frames" if data.get("frames") is not None else ""
        digest = f" (sha256 {data['sha256']})" if data.get("sha256") else ""
        facts[f"data {index + 1}"] = f"{data['name']}{frames}{digest}"
    return _pairs("Training", facts)


def _certificate(certificate: Mapping[str, Any] | None) -> str:
    if not certificate:
        return ""
    results = certificate.get("results")
    if not isinstance(results, list) or not results:
        return ""
    columns = ["name", "dtype", "error", "tolerance", "status"]
    rows = [[row.get(key) for key in columns] for row in results]
    with_ = ", ".join(f"{k} {v}" for k, v in (certificate.get("environment") or {}).items())
    title = f"## Certificate\n\nSymmetry group {certificate.get('group')}, measured by `zoo verify`"
    head = title + (f" with {with_}" if with_ else "") + ".\n\n"
    return head + table(["check", "precision", "error", "tolerance", "result"], rows)


def _trust(trust: Mapping[str, Any] | None) -> str:
    if not trust:
        return ""
    text = (
        "## Trust\n\nThe training domain is stored with the weights: "
        "`zoo predict --trust` scores structures against it. It was fitted to "
        f"{trust['frames']} training frames; {100 * trust['quantile']:g} % of "
        f"{trust['calibration_frames']} others score below 1."
    )
    return "\n\n".join([text, *(_separation(row) for row in trust.get("separation") or [])])


def _separation(found: Mapping[str, Any]) -> str:
    aurocs = ", ".join(f"{name} {value:.3f}" for name, value in found["auroc"].items())
    text = (
        f"{found['outside_frames']} frames of {found['outside']} against "
        f"{found['inside_frames']} of {found['inside']}: {100 * found['detected']:.1f} % flagged, "
        f"{100 * found['false_alarms']:.1f} % false alarms; AUROC: {aurocs}."
    )
    if found.get("rank_correlation") is not None:
        text += (
            " Rank correlation of an atom's score with the error of its force: "
            f"{found['rank_correlation']:.2f}."
        )
    groups = found.get("groups") or {}
    if not groups:
        return text
    rows = [
        [name, row["frames"], f"{100 * row['flagged']:.0f} %", row.get("forces_mae")]
        for name, row in groups.items()
    ]
    head = ["outside", "frames", "flagged", "force MAE (meV/Å)"]
    return f"{text}\n\n{table(head, rows)}"


def _files(entry: Mapping[str, Any]) -> str:
    rows = [
        [item.get("role"), item.get("path"), item.get("bytes"), item.get("sha256")]
        for item in entry.get("files") or []
    ]
    return "## Files\n\n" + table(["role", "file", "bytes", "sha256"], rows) if rows else ""
