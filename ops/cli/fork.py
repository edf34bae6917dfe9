"""`esper fork`: a new run that has another run's past, for the training script to go on with."""

from typing import Annotated

from cyclopts import Parameter

import esper
from actors.stack import StackNotReady
from ops.cli.chronicle import SHORT
from ops.cli.errors import CommandFailed
from ops.cli.log import place_of
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


def fork(
    run: str,
    *,
    at: int | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative="")] = (),  # noqa: A002 - the option is called --set
    options: Options = DEFAULTS,
) -> None:
    """Make a new run of a run's past up to a position; train it with the same script, which resumes it by its id.

    It goes on from the last checkpoint up to that position, repeats the decisions recorded between the two, and is free
    from there. The run that is forked stays as it is.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        at: The last position to take over; the newest if left out.
        set: A growth setting that is other in the fork: policy.min_epoch=5. May be given several times.
    """
    settings = dict(_pair(text) for text in set)
    place_of(options)
    try:
        made = esper.fork(run, at=at, settings=settings, log=options.log or "embedded", folder=options.folder)
    except (esper.EsperError, StackNotReady) as error:
        raise CommandFailed(str(error)) from error
    if options.json:
        print_json([made])
        return
    print_line(
        f"run {made.run_id} has the past of run {made.parent[:SHORT]} up to position {made.position}; "
        f"it goes on from the checkpoint of epoch {made.epoch}"
    )
    say(f'train it with the same script: esper.attach(..., resume="{made.run_id}")')


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandFailed(f"--set {text!r} is not name=value")
    return name, value
