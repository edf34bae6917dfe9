"""A bundle that is damaged, forged or hostile is refused with an event; its seed is culled and training goes on."""

import pickle
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

import esper
from actors.dispatch import dispatch
from actors.ids import derived_id
from actors.streams import kernel_stream
from esper.api.session import Session
from esper.api.settings import KernelLimits
from esper.api.slots import Accepted
from esper.leyline.v1.kernel_pb2 import KernelRegistered, RegisterKernel
from esper.leyline.v1.seed_pb2 import KernelAttachFailed, SeedCulled
from esper.urza.bundle import pack
from esper.urza.manifest import parse_bundle, parse_manifest
from esper.urza.rules.kernel import KERNEL
from eventstore.signing import Keys
from eventstore.store import Context
from tests.api.hosts import digits, train_step
from tests.journeys.conftest import Works

WEIGHTS = "weights.safetensors"


class Marks:
    """Pickled, it would leave a file behind when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.file,))


def registered(works: Works) -> KernelRegistered:
    return [event.event for event in works.recorded() if isinstance(event.event, KernelRegistered)][-1]


def weights_file(works: Works, kernel: KernelRegistered) -> Path:
    page = parse_bundle(works.place.blobs.get(kernel.kernel_id))
    manifest, _ = parse_manifest(works.place.blobs.get(page.manifest))
    digest = manifest.files[WEIGHTS].sha256
    return next(
        path
        for path in (works.place.folder / "blobs").rglob("*")
        if path.is_file() and digest in "".join(path.parts[-2:])
    )


def forged(works: Works, kernel: KernelRegistered, weights: bytes | None, keys: Keys) -> None:
    """Register a second bundle for the same specification: consistent digests, other weights or another signer."""
    blobs = works.place.blobs
    manifest, spec = parse_manifest(blobs.get(parse_bundle(blobs.get(kernel.kernel_id)).manifest))
    parts = {name: blobs.get(part.sha256) for name, part in manifest.files.items()}
    if weights is not None:
        parts[WEIGHTS] = weights
    key_id = parse_bundle(blobs.get(kernel.kernel_id)).key_id

    def sign(data: bytes) -> tuple[str, bytes]:
        return key_id, keys.sign(data)

    packed = pack(msgspec.structs.replace(manifest, files={}), parts, blobs.put, sign)
    command = RegisterKernel(kernel_id=packed.kernel_id, job_id="forged", spec=spec)
    stream = kernel_stream(manifest.kernel_key)
    context = Context(
        command_id=derived_id("forged", packed.kernel_id),
        command_type="RegisterKernel",
        recorded_at_ns=1,
        actor="mallory",
    )
    works.loop.call(dispatch(works.log.store, KERNEL, stream, command, context), 30)


def plant(session: Session, model: nn.Module, optimizer: torch.optim.Optimizer, label: str) -> None:
    assert isinstance(session.slots[label].germinate("BP002"), Accepted)
    for x, y in list(digits().batches(32))[:3]:
        session.step(train_step(model, optimizer, x, y))


@pytest.mark.timeout(600)
def test_no_bad_bundle_is_ever_planted(works: Works, tmp_path: Path):
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8) for _ in range(6)]
    model = esper.wrap(nn.Sequential(nn.Linear(64, 8), *layers, nn.Linear(8, 10)), sites=[str(i) for i in range(1, 7)])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    marker = tmp_path / "executed"
    hostile = pickle.dumps(Marks(marker))
    with esper.attach(
        model,
        optimizer,
        evaluate=digits().score,
        log=works.server.url,
        folder=works.place.folder,
        controller=None,
        # Each seed's kernel is read again, although it is one and the same.
        settings=esper.GrowthSettings(kernels=KernelLimits(cache_kernels=0)),
        say=lambda _: None,
    ) as session:
        session.observe(digits().train_x[:8])
        plant(session, model, optimizer, "1")
        assert session.stages["1"] == "training"
        kernel = registered(works)
        file = weights_file(works, kernel)
        sound = file.read_bytes()
        file.chmod(0o600)

        file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        plant(session, model, optimizer, "2")
        file.write_bytes(hostile)
        plant(session, model, optimizer, "3")
        file.unlink()
        plant(session, model, optimizer, "4")
        file.write_bytes(sound)
        forged(works, kernel, hostile, works.place.keys)
        plant(session, model, optimizer, "5")
        forged(works, kernel, None, Keys("mallory's"))
        plant(session, model, optimizer, "6")

        assert {label: session.stages[label] for label in "123456"} == {
            "1": "training",
            **dict.fromkeys("23456", "culled"),
        }
        session.end_epoch()
    failures = [event.event for event in works.recorded() if isinstance(event.event, KernelAttachFailed)]
    assert [failure.reason for failure in failures] == [
        "digest_mismatch",
        "digest_mismatch",
        "missing_part",
        "weights_invalid",
        "signature_invalid",
    ]
    culls = [event.event.reason for event in works.recorded() if isinstance(event.event, SeedCulled)]
    assert culls == [f"kernel refused: {failure.reason}" for failure in failures]
    assert not marker.exists()
