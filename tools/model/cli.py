"""`smartcar model …` and `smartcar keys …`. What a command needs is imported when it runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tools.terminal import problems
from tools.terminal.broker_options import FindWays, with_broker
from tools.terminal.options import Config, Json, settings
from tools.terminal.output import print_document

app = typer.Typer(help="Models: take, try, go back; bundle and sign.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys to sign bundles with.", no_args_is_help=True)

Keep = Annotated[bool, typer.Option("--keep", help="Only keep it in the store; don't read with it.")]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="The start of its digest, or previous, or factory."),
]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder or zip.")]


@app.command("list")
def list_models(json: Json = False, config: Config = None) -> None:
    """The models in the car's store."""
    from tools.model.car import show

    problems.finish(show(settings(), json=json))


@app.command()
def compare(model: Model, json: Json = False, config: Config = None) -> None:
    """What stands on the pad, read by the active model and by another one: before deciding."""
    from tools.model.car import compare as compare_models

    problems.finish(compare_models(settings(), model, json=json))


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".h5, .keras, .tflite or a bundle's zip.")],
    keep: Keep = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Have the car take a model file, as if it lay in the data folder."""
    from tools.model.car import take_file

    problems.finish(take_file(settings(), file, activate=not keep, json=json))


@app.command()
def install(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="A bundle's folder or zip.", show_default=False)
    ] = None,
    offer: Annotated[
        str | None, typer.Option(metavar="NAME", help="What stands of that name on the broker instead.")
    ] = None,
    keep: Keep = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Have the car take a bundle that is signed by a key it trusts."""
    from tools.model import car

    if (bundle is None) == (offer is None):
        problems.stop("Give a BUNDLE, or --offer NAME.", exit_code=2)
    if bundle is None:
        problems.finish(car.install_offer(settings(), offer or "", activate=not keep, json=json))
    else:
        problems.finish(car.install(settings(), bundle, activate=not keep, json=json))


@app.command()
def offers(json: Json = False, config: Config = None) -> None:
    """What stands on the broker of the names that the car follows, and why it isn't taken."""
    from tools.model.car import show_offers

    problems.finish(show_offers(settings(), json=json))


@app.command()
def activate(model: Model, json: Json = False, config: Config = None) -> None:
    """Read with a model of the store, and pin it."""
    from tools.model.car import activate as activate_model

    problems.finish(activate_model(settings(), model, json=json))


@app.command()
def rollback(json: Json = False, config: Config = None) -> None:
    """Go back to the previous model at once, and pin it."""
    from tools.model.car import rollback as roll_back

    problems.finish(roll_back(settings(), json=json))


@app.command()
def pin(json: Json = False, config: Config = None) -> None:
    """Keep the active model: no bundle from elsewhere replaces it."""
    from tools.model.car import pin as pin_model

    problems.finish(pin_model(settings(), pinned=True, json=json))


@app.command()
def unpin(json: Json = False, config: Config = None) -> None:
    """Let bundles from elsewhere replace the active model again."""
    from tools.model.car import pin as pin_model

    problems.finish(pin_model(settings(), pinned=False, json=json))


@app.command()
def remove(model: Model, json: Json = False, config: Config = None) -> None:
    """Take a model out of the store."""
    from tools.model.car import remove as remove_model

    problems.finish(remove_model(settings(), model, json=json))


@app.command()
def bundle(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=".h5, .keras, .tflite, or a SavedModel's folder or zip.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A new folder, or a file that ends in .zip.")
    ],
    name: Annotated[str, typer.Option(help="What it is called.")] = "digits",
    version: Annotated[str, typer.Option(help="A semantic version.")] = "1.0.0",
    release: Annotated[int, typer.Option(min=0, help="Counts up with every release of that name.")] = 1,
    target: Annotated[str, typer.Option(help="all, a car or a group.")] = "all",
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="No car takes it after that day.")
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="What a car must find.  [default: a little less than found here]"),
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign it with this key.")] = None,
    json: Json = False,
) -> None:
    """Make a bundle of a model file: convert, test, describe. Where it must, it converts with TensorFlow."""
    from tools.model.making import Description, make

    description = Description(name, version, release, target, expires, accuracy)
    problems.finish(make(model, output, description, key, json=json))


@app.command()
def sign(
    bundle: BundlePath,
    key: Annotated[Path, typer.Option(metavar="KEY", help="A private key of `smartcar keys generate`.")],
) -> None:
    """Sign a bundle."""
    from tools.model.making import sign as sign_bundle

    problems.finish(sign_bundle(bundle, key))


@app.command()
def eye(
    bundle: BundlePath,
    file: Annotated[Path, typer.Argument(metavar="EYE", help="The `.tflite` that finds digits in pictures.")],
) -> None:
    """Put an eye into a bundle: its pictures are then searched for digits with that one."""
    from tools.model.making import set_eye

    problems.finish(set_eye(bundle, file))


@app.command()
def verify(
    bundle: BundlePath,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="A public key, or its file. [default: models.trust of the settings]"
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say whether a car would take the bundle: files, signature, golden test."""
    from tools.model.making import verify as verify_bundle

    problems.finish(verify_bundle(bundle, trust or list(settings().models.trust), json=json))


@app.command()
@with_broker
def publish(
    ways: FindWays,
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="A bundle's folder or zip.", show_default=False)
    ] = None,
    withdraw: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take the offer of that name off the broker instead.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it, with a key the cars trust.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="CAR|GROUP", help="Sign it for one car or group, or for all.")
    ] = None,
    release: Annotated[
        int | None,
        typer.Option(min=0, help="Its counter.  [default: the bundle's, or the next after what stands]"),
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="No car takes it from that day on.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Sign that the payload lies there, too; cars try it first.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the payload there, to be put at the URL.")
    ] = None,
    chunk_kib: Annotated[
        int, typer.Option(min=1, max=256, help="The length of a chunk, for a broker of small packets.")
    ] = 256,
    wait: Annotated[
        float, typer.Option(min=0, help="Listen to the cars for so many seconds at most.")
    ] = 120.0,
    json: Json = False,
) -> None:
    """Offer a signed bundle to every car of a broker, and show what they answer."""
    from datetime import UTC

    from tools.publish import publishing

    if (bundle is None) == (withdraw is None):
        problems.stop("Give a BUNDLE, or --withdraw NAME.", exit_code=2)
    if bundle is None:
        problems.finish(publishing.withdraw_release(withdraw or "", ways(), json=json))
        return
    until = expires.replace(tzinfo=UTC) if expires is not None else None
    options = publishing.PublishOptions(key, to, release, until, url, payload, wait, chunk_kib << 10)
    problems.finish(publishing.publish(bundle, ways(), options, json=json))


@app.command()
def schema() -> None:
    """Print the JSON Schema of manifest.json."""
    import json

    from models.bundle.manifest import manifest_schema

    print_document(json.dumps(manifest_schema(), indent=2, ensure_ascii=False))


@keys_app.command("generate")
def keys_generate(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="The new file. Keep it where you sign.")],
    comment: Annotated[str, typer.Option(help="Whose it is.")] = "",
) -> None:
    """Make a key, and print the public one: the line for models.trust of the cars' settings."""
    from tools.model.making import generate_key

    problems.finish(generate_key(key, comment))


@keys_app.command("show")
def keys_show(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="A private key.")],
    comment: Annotated[str, typer.Option(help="Whose it is.")] = "",
) -> None:
    """Print the public key that belongs to a private one."""
    from tools.model.making import show_key

    problems.finish(show_key(key, comment))
