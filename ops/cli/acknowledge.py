"""`esper acknowledge`: somebody has looked at a run that was halted, and lets it go on."""

import esper
from actors.stack import StackNotReady
from ops.cli.errors import CommandFailed
from ops.cli.log import place_of
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


def acknowledge(run: str, reason: str, *, options: Options = DEFAULTS) -> None:
    """Let a run that was halted be resumed. It was halted because going back to a sound state did not help.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        reason: What was done about it: "learning rate 1e-3 instead of 0.1".
    """
    place_of(options)
    try:
        run_id = esper.acknowledge(run, reason, log=options.log or "embedded", folder=options.folder)
    except (esper.EsperError, StackNotReady) as error:
        raise CommandFailed(str(error)) from error
    if options.json:
        print_json([{"run_id": run_id, "reason": reason}])
        return
    print_line(f"run {run_id} may go on")
    say(f'train it with the same script: esper.attach(..., resume="{run_id}")')
