"""What is asked of a script that goes on with a run, and what it is told."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from torch.utils.data import Sampler

from esper.api.errors import ResumeMismatch
from esper.api.script import Script
from esper.api.settings import settings_of
from esper.leyline.v1.run_pb2 import RunFacts
from esper.tolaria.rules.run import RUN
from eventstore.store import Recorded


def under_its_own_settings(script: Script, begun: Sequence[Recorded]) -> Script:
    """Return *script* under the settings of the run it goes on with: those that it states, or a fork's own.

    Raises:
        ResumeMismatch: it states others; nothing was recorded.
    """
    run = RUN.fold(cast(Any, recorded.event) for recorded in begun)
    if run.finished or run.facts is None:
        return script
    then = run.facts
    stated = [then.settings_json, *([then.origin.settings_json] if then.HasField("origin") else [])]
    try:
        own = settings_of(then.settings_json)
        known = any(script.settings == settings_of(recorded) for recorded in stated)
    except msgspec.ValidationError as error:
        raise ResumeMismatch("the growth settings", then.settings_json, f"refused: {error}") from error
    if not known:
        now = msgspec.json.encode(script.settings, order="sorted").decode()
        raise ResumeMismatch("the growth settings", then.settings_json, now)
    return msgspec.structs.replace(script, settings=own)


def what_was_put_back(run_id: str, epoch: int, script: Script) -> str:
    """Say what was put back and, because nobody else knows the user's loader, what was not."""
    handed_over = "".join(f", {name}" for name in script.stateful)
    text = (
        f"run {run_id} goes on after epoch {epoch}, with its model, seeds, optimizer, "
        f"the random streams of Python, NumPy and torch{handed_over}"
    )
    if any(isinstance(thing, Sampler) for thing in script.stateful.values()):
        return text
    return f"{text}. Whatever else your data loader remembers is as the script made it; see docs/resuming.md"


def refuse_other_script(then: RunFacts, now: RunFacts) -> None:
    """Refuse a script that cannot go on with a run that was begun with the facts *then*.

    Raises:
        ResumeMismatch: names the first difference.
    """
    pairs = {
        "the model's class": (then.model_class, now.model_class),
        "the list of sites": (str(list(then.sites)), str(list(now.sites))),
        "seed": (str(then.seed), str(now.seed)),
        "torch": (then.torch_version, now.torch_version),
        "whether there is an objective": (str(then.objective), str(now.objective)),
    }
    if then.controller:
        # Runs that were recorded before this was told say nothing about it.
        pairs["the controller"] = (then.controller, now.controller)
        pairs["the policy's version"] = (then.policy_version, now.policy_version)
    for what, (before, after) in pairs.items():
        if before != after:
            raise ResumeMismatch(what, before, after)
