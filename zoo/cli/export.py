"""`zoo export`: a model as one file that torch runs alone."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .pt2 file.")],
    form: Annotated[
        str, typer.Option("--format", help="torch.export or aotinductor.")
    ] = "torch.export",
    device: _common.Device = "cpu",
    head: _common.Head = None,
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """A model as an artefact, kept if it says what the model says.

    On atoms it holds forces and virials. The two are compared on the golden inputs and on small
    samples of other sizes.
    """
    from zoo import hub
    from zoo.apps.scale.export import export

    if output.suffix != ".pt2":
        raise typer.BadParameter(f"{output} must end in .pt2", param_hint="'--output'")
    output = _common.check_output(output)
    model = hub.load(name, device=device, allow_untrained_elements=allow_untrained_elements)
    golden = None
    if model.manifest.golden_file is not None:
        tensors = hub.golden_tensors(model.manifest, hub.find(name).parent)
        golden = hub.golden_structures(tensors, domain=getattr(model, "domain", "atoms"))
    info = export(model, output, form=form, head=head, structures=golden)
    text = f"wrote {output}: differs from the model by {info['difference']:.2g} at most (relative)"
    _common.emit(info, text, as_json=as_json)
