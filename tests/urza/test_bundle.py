"""A bundle is read whole and unharmed, or refused before anything in it is used."""

import os
import pickle
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from actors.bundles import verify_with
from esper.karn.builders import build
from esper.leyline.canonical import canonical_bytes, sha256_hex
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.urza.errors import BundleRefused
from esper.urza.guard import guard_bytes, guard_digest
from esper.urza.library import OpenedKernel, open_kernel
from esper.urza.manifest import GRAPH, GUARD, WEIGHTS, canonical_json
from eventstore.signing import Keys
from tests.urza.shelf import SPEC, Shelf, guard_for, module

EVERYTHING = ("page", "manifest", WEIGHTS, GUARD, GRAPH)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def opened(shelf: Shelf, spec: KernelSpec = SPEC) -> OpenedKernel:
    verify = verify_with(shelf.keys)
    return open_kernel(shelf.kernel_id, spec, shelf.blobs.get, verify, build, blend_mode=BLEND_MODE_RESIDUAL)


def refusal(shelf: Shelf) -> str:
    with pytest.raises(BundleRefused) as refused:
        shelf.open()
    return refused.value.reason


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_what_was_packed_comes_back(shelf: Shelf):
    bundle = shelf.open()
    assert bundle.kernel_id == shelf.kernel_id == sha256_hex(shelf.blobs[shelf.kernel_id])
    assert (bundle.spec, bundle.guard, bundle.weights) == (SPEC, guard_for(), shelf.parts[WEIGHTS])
    assert bundle.bytes == sum(len(shelf.blobs[digest]) for digest in shelf.places().values())


def test_each_part_is_read_once(shelf: Shelf):
    asked: list[str] = []

    def fetch(digest: str) -> bytes | None:
        asked.append(digest)
        return shelf.blobs.get(digest)

    open_kernel(shelf.kernel_id, SPEC, fetch, verify_with(shelf.keys), build, blend_mode=BLEND_MODE_RESIDUAL)
    assert sorted(asked) == sorted(shelf.places().values())


def test_a_kernel_opens_as_the_module_it_was_forged_from(shelf: Shelf):
    before = torch.get_rng_state()
    kernel = opened(shelf)
    assert all(
        torch.equal(one, other) for one, other in zip(kernel.module.parameters(), module().parameters(), strict=True)
    )
    assert kernel.weights_sha256 == sha256_hex(shelf.parts[WEIGHTS])
    assert kernel.module.training
    assert torch.equal(before, torch.get_rng_state())


def test_what_gate_g1_asks_is_measured(shelf: Shelf):
    assert opened(shelf).evidence == {
        "checksum_verified": 1.0,
        "guard_verified": 1.0,
        "parameter_mismatch": 0.0,
        "output_shape_ok": 1.0,
        "output_finite": 1.0,
        "identity_error": 0.0,
    }


def test_weights_that_do_more_than_nothing_at_birth_are_measured_as_such(shelf: Shelf):
    loud = module()
    torch.nn.init.ones_(loud.get_parameter("out.bias"))
    shelf.parts[WEIGHTS] = save(dict(loud.state_dict()))
    shelf.repack()
    assert opened(shelf).evidence["identity_error"] == 1.0


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found(name: str, share: float, flip: int):
    shelf = Shelf()
    digest = shelf.places()[name]
    data = bytearray(shelf.blobs[digest])
    data[int(share * len(data))] ^= flip
    shelf.blobs[digest] = bytes(data)
    assert refusal(shelf) == "digest_mismatch"


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_missing_part_is_missed(shelf: Shelf, name: str):
    del shelf.blobs[shelf.places()[name]]
    assert refusal(shelf) == "missing_part"


@pytest.mark.parametrize("name", [WEIGHTS, GUARD, GRAPH])
def test_a_manifest_must_list_every_part(shelf: Shelf, name: str):
    del shelf.parts[name]
    shelf.repack()
    assert refusal(shelf) == "missing_part"


def test_a_part_that_nobody_knows_is_refused(shelf: Shelf):
    shelf.parts["kernel.so"] = b"\x7fELF"
    shelf.repack()
    assert refusal(shelf) == "manifest_invalid"


def test_another_keys_signature_does_not_do(shelf: Shelf):
    manifest = shelf.blobs[shelf.places()["manifest"]]
    shelf.reseal(manifest, signature=Keys("somebody else's").sign(manifest).hex())
    assert refusal(shelf) == "signature_invalid"


def test_an_unknown_key_does_not_do(shelf: Shelf):
    stranger = Keys("somebody else's")
    manifest = shelf.blobs[shelf.places()["manifest"]]
    shelf.reseal(manifest, key_id=stranger.current_id, signature=stranger.sign(manifest).hex())
    assert refusal(shelf) == "signature_invalid"


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"schema":1}', b"\x80\x04N."])
def test_a_signed_manifest_that_is_none_is_refused(shelf: Shelf, manifest: bytes):
    shelf.reseal(manifest)
    assert refusal(shelf) == "manifest_invalid"


@pytest.mark.parametrize("page", [b"", b"{}", b'{"key_id":"k","manifest":"m","signature":"not hex"}', b"\x80\x04N."])
def test_a_page_that_is_none_is_refused(shelf: Shelf, page: bytes):
    shelf.kernel_id = shelf.put(page)
    assert refusal(shelf) == "manifest_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel_key": "0" * 64},
        {"spec": "00"},
        {"spec": "not hex"},
        {"schema": 2},
        {"verdict": "FASTEST"},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(shelf: Shelf, changes: dict[str, object]):
    shelf.repack(**changes)
    assert refusal(shelf) == "manifest_invalid"


def test_a_part_of_another_size_than_listed_is_refused(shelf: Shelf):
    page = msgspec.json.decode(shelf.blobs[shelf.places()["manifest"]])
    page["files"][GRAPH]["bytes"] += 1
    shelf.reseal(msgspec.json.encode(page, order="deterministic"))
    assert refusal(shelf) == "digest_mismatch"


@pytest.mark.parametrize("name", [WEIGHTS, GUARD])
def test_a_pickle_in_place_of_a_part_is_refused_unexecuted(shelf: Shelf, name: str, tmp_path: Path):
    marker = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(marker))
    shelf.blobs[shelf.places()[name]] = bomb
    assert refusal(shelf) == "digest_mismatch"
    shelf.parts[name] = bomb
    shelf.repack()
    assert refusal(shelf) == {WEIGHTS: "weights_invalid", GUARD: "guard_mismatch"}[name]
    assert not marker.exists()


def test_a_guard_for_another_site_is_refused(shelf: Shelf):
    other = type(SPEC.shape)()
    other.CopyFrom(SPEC.shape)
    other.output_size[0] = 5
    shelf.parts[GUARD] = guard_bytes(guard_for(other))
    shelf.repack(guard_digest=guard_digest(guard_for(other)))
    assert refusal(shelf) == "guard_mismatch"


def test_a_guard_other_than_the_manifests_is_refused(shelf: Shelf):
    shelf.parts[GUARD] = guard_bytes(msgspec.structs.replace(guard_for(), ranges={"d0": (1, 2)}))
    shelf.repack()
    assert refusal(shelf) == "guard_mismatch"


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_weights_other_than_the_guards_are_refused(shelf: Shelf, change: str):
    tensors = dict(module().state_dict())
    first = next(iter(tensors))
    match change:
        case "missing":
            del tensors[first]
        case "extra":
            tensors["intruder"] = torch.zeros(1)
        case "shape":
            tensors[first] = torch.zeros(1)
        case _:
            tensors[first] = tensors[first].double()
    shelf.parts[WEIGHTS] = save(tensors)
    shelf.repack()
    assert refusal(shelf) == "weights_invalid"


def test_weights_that_are_not_finite_are_refused(shelf: Shelf):
    tensors = dict(module().state_dict())
    tensors["out.bias"] = torch.full_like(tensors["out.bias"], float("nan"))
    shelf.parts[WEIGHTS] = save(tensors)
    shelf.repack()
    with pytest.raises(BundleRefused, match=r"weights_invalid.*not finite"):
        opened(shelf)


def test_the_kernel_of_another_specification_is_refused(shelf: Shelf):
    other = KernelSpec()
    other.CopyFrom(SPEC)
    other.init_seed = 8
    with pytest.raises(BundleRefused, match="another specification"):
        opened(shelf, other)


def test_a_manifest_has_one_form(shelf: Shelf):
    again = msgspec.json.decode(canonical_json(shelf.manifest), type=type(shelf.manifest))
    assert canonical_json(again) == canonical_json(shelf.manifest)
    assert bytes.fromhex(again.spec) == canonical_bytes(SPEC)
