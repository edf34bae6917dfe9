"""The limits that the heuristic controller holds its measurements against."""

import hashlib

import msgspec


class HeuristicSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to grow, when to blend, what must be shown to stay. Scores are in the unit of the user's `evaluate`.

    Ages are counted in ended epochs. `min_cull_age_epochs` protects a seed from a hasty end (with an age of 1, more
    than half of all seeds once died in their first epoch); the one exception is a seed that shows no promise in
    TRAINING, whose patience is counted in its own stage and which the host cannot feel either way.
    """

    min_epoch: int = 3
    min_pressure: float = 0.01
    max_live_seeds: int = 2
    penalty_per_cull: float = 2.0
    penalty_kept_per_epoch: float = 0.5
    penalty_limit: float = 3.0
    min_training_epochs: int = 2
    training_patience_epochs: int = 4
    ramp_epochs: int = 2
    min_probation_epochs: int = 5
    min_contribution: float = 0.01
    min_cull_age_epochs: int = 5
    harm_contribution: float = -0.02
    min_harm_epochs: int = 2
    ransom_contribution: float = 0.001

    def version(self) -> str:
        """Return the policy version that these settings make: the rules' own number and a digest of the limits."""
        return f"heuristic-1+{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]}"
