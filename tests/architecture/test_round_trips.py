"""Whatever numbers a training produces come back from the wire as they were."""

import math

from hypothesis import given
from hypothesis import strategies as st

from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.site_pb2 import Moment

NAMES = st.text(min_size=1, max_size=20)
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@given(
    epoch=st.integers(0, 10_000),
    step=st.integers(0, 2**63),
    score=st.none() | st.floats(0.0, 1.0),
    loss=ANY_FLOAT,
    metrics=st.dictionaries(NAMES, st.floats(-10_000.0, 10_000.0)),
)
def test_an_epochs_facts_come_back_exactly(
    epoch: int, step: int, score: float | None, loss: float, metrics: dict[str, float]
):
    sent = EpochFacts(at=Moment(epoch=epoch, step=step), train_loss=loss, score=score, metrics=metrics)
    got = EpochFacts.FromString(canonical_bytes(sent))
    assert (got.at.epoch, got.at.step, dict(got.metrics)) == (epoch, step, metrics)
    assert (got.score if got.HasField("score") else None) == score
    assert got.train_loss == loss or (math.isnan(got.train_loss) and math.isnan(loss))


@given(st.dictionaries(NAMES, ANY_FLOAT, min_size=2))
def test_bytes_do_not_depend_on_the_order_in_which_numbers_were_put_in(metrics: dict[str, float]):
    backward = dict(reversed(metrics.items()))
    assert canonical_bytes(EpochFacts(metrics=metrics)) == canonical_bytes(EpochFacts(metrics=backward))
