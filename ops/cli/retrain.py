"""`esper replay --retrain`: the run's own script, run with the run's recorded decisions, and what came of it."""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from actors.rehearsal import RESULT_VARIABLE, RUN_VARIABLE, Retrained
from ops.cli.chronicle import read_chronicle
from ops.cli.errors import CommandFailed
from ops.cli.log import open_log
from ops.cli.options import Options
from ops.cli.output import print_json, print_line, say

TALK = 2


async def train_again(run: str, script: Sequence[str], options: Options) -> int:
    """Run *script* so that its `attach` trains *run* again; print how that compares, and return the exit code."""
    if not script:
        raise CommandFailed("--retrain needs the training script: esper replay latest --retrain -- python train.py")
    async with open_log(options) as log:
        run_id = (await read_chronicle(log.store)).run_named(run)
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        environ = os.environ | {RUN_VARIABLE: run_id, RESULT_VARIABLE: str(result)}
        try:
            # What the script prints is talk: data on stdout are ours.
            ended = await asyncio.to_thread(subprocess.run, script, env=environ, stdout=TALK, check=False)
        except OSError as error:
            raise CommandFailed(f"cannot run {script[0]!r}: {error.strerror}") from error
        if not result.exists():
            why = "it never came to esper.attach, or not to the end of its `with` block"
            raise CommandFailed(f"the script ended with code {ended.returncode} and compared nothing: {why}")
        found = msgspec.json.decode(result.read_bytes(), type=Retrained)
    return _shown(found, ended.returncode, options)


def _shown(found: Retrained, code: int, options: Options) -> int:
    if options.json:
        print_json([{"identical": found.identical, "result": found}])
        return int(not found.identical)
    different = found.difference
    if different is not None:
        print_line(f"DIVERGED at position {different.position}: {different.event} of epoch {different.epoch}", "red")
        print_line(f"  {different.what} was recorded as {different.recorded}")
        print_line(f"  {different.what} is now {different.found}")
    else:
        print_line(
            f"run {found.run_id}: {found.epochs} of {found.epochs_on_record} epochs and {found.digests} of "
            f"{found.digests_on_record} digests of the weights were compared, all identical"
        )
        if not found.identical:
            say(f"the script ended (code {code}) before it came to the end of what is on record")
    return int(not found.identical)
