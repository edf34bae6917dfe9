"""The language on the wire: generated code is fresh, bytes and numbers never change by accident."""

import subprocess
import sys

import pytest
from google.protobuf.message_factory import GetMessageClass

from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1 import enums_pb2
from tests.architecture.golden_bytes import golden, message_types, populated
from tests.architecture.source_tree import ROOT

# Numbers that recorded events hold: a name may be added at the end, none may move.
STAGES = (
    "UNKNOWN DORMANT GERMINATED TRAINING BLENDING SHADOWING PROBATIONARY FOSSILIZED CULLED EMBARGOED RESETTING "
    "TERMINATED"
)
GATES = "UNKNOWN G0_SANITY G1_GRADIENT_HEALTH G2_STABILITY G3_INTERFACE G4_SYSTEM_IMPACT G5_RESET"
NUMBERS = {
    "SeedLifecycleStage": ("SEED_STAGE_", STAGES),
    "SeedLifecycleGate": ("SEED_GATE_", GATES),
    "BlendMode": ("BLEND_MODE_", "UNKNOWN CONVEX RESIDUAL CHANNEL CONFIDENCE MULTIPLY GATE"),
    "AfterBlending": ("AFTER_BLENDING_", "UNSPECIFIED SHARE COADAPT FREEZE"),
    "FieldReportOutcome": ("FIELD_REPORT_OUTCOME_", "UNSPECIFIED SUCCESS NEUTRAL REGRESSION ABORTED"),
    "BlueprintTier": ("BLUEPRINT_TIER_", "UNSPECIFIED SAFE EXPERIMENTAL HIGH_RISK"),
    "AlphaCurve": ("ALPHA_CURVE_", "UNSPECIFIED LINEAR COSINE SIGMOID"),
    "SiteKind": ("SITE_KIND_", "UNSPECIFIED VECTOR SEQUENCE IMAGE"),
    "DecisionAction": ("DECISION_ACTION_", "UNSPECIFIED WAIT GERMINATE BLEND SHADOW FOSSILIZE CULL"),
    "CullInitiator": ("CULL_INITIATOR_", "UNSPECIFIED GATE POLICY OPERATOR RUNTIME"),
    "RollbackMode": ("ROLLBACK_MODE_", "UNSPECIFIED RESTORE STABILISE"),
    "RollbackTier": ("ROLLBACK_TIER_", "UNSPECIFIED FAST FULL"),
    "CompileStage": ("COMPILE_STAGE_", "UNSPECIFIED VALIDATE BUILD EXPORT COMPILE VERIFY PREWARM PACKAGE"),
    "CircuitBreakerState": ("CIRCUIT_STATE_", "UNKNOWN CLOSED OPEN HALF_OPEN"),
    "EmergencyLevel": ("EMERGENCY_LEVEL_", "UNSPECIFIED NOTICE ELEVATED CONSERVATIVE HALT"),
    "EngineVerdict": ("ENGINE_VERDICT_", "UNSPECIFIED EAGER COMPILED"),
    "MessagePriority": ("MESSAGE_PRIORITY_", "UNSPECIFIED LOW NORMAL HIGH CRITICAL EMERGENCY"),
}
ENUMS = enums_pb2.DESCRIPTOR.enum_types_by_name
TYPES = message_types()


def test_generated_code_is_what_the_protos_say(tmp_path):
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    generate = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*generate, *protos], cwd=ROOT / "proto", check=True, timeout=60)
    fresh = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    committed = {name: (ROOT / name).read_text() for name in fresh if (ROOT / name).is_file()}
    assert {name for name in fresh if fresh[name] != committed.get(name)} == set(), "run `just proto`"
    assert len(fresh) == 2 * len(protos)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.full_name)
def test_a_message_has_the_bytes_it_always_had(kind):
    recorded = bytes.fromhex(golden()[kind.full_name])
    assert populated(kind).SerializeToString(deterministic=True) == recorded
    assert GetMessageClass(kind).FromString(recorded) == populated(kind)


def test_golden_bytes_exist_for_every_event_and_command_and_for_nothing_else():
    assert set(golden()) == {kind.full_name for kind in TYPES}
    assert set(golden()) >= {*EVENTS.names(), *COMMANDS.names()}


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_has_the_numbers_of_the_specification(name):
    prefix, words = NUMBERS[name]
    expected = {f"{prefix}{word}": number for number, word in enumerate(words.split())}
    assert {value.name: value.number for value in ENUMS[name].values} == expected


def test_every_enum_of_the_specification_is_there():
    assert set(ENUMS) == set(NUMBERS)
