"""What the measures of an evaluation name outside of a job."""

from __future__ import annotations

from alignment_api.v1alpha1 import Stage, uses
from alignment_api.v1alpha1.uses import ModelKind

STAGE = Stage.model_validate(
    {
        "name": "check",
        "dataset": {"inline": {"rows": [{"prompt": "q"}]}},
        "evaluate": {
            "candidate": {"volume": {"path": "models/a"}},
            "baseline": {"volume": {"path": "models/b"}},
            "judges": [{"name": "form", "heuristic": {}}],
            "measures": {
                "texts": [
                    {"name": "hub", "huggingFace": {"name": "a/b", "tokenSecretRef": {"name": "hub", "key": "text"}}},
                    {"name": "map", "configMap": {"name": "prose", "key": "a.jsonl"}},
                    {"name": "store", "s3": {"bucket": "bucket", "key": "a.jsonl", "credentialsSecret": "store"}},
                ],
                "tasks": [
                    {"name": "gpqa", "task": "gpqa_main_zeroshot", "tokenSecretRef": {"name": "hub", "key": "task"}},
                    {"name": "arc", "task": "arc_easy"},
                ],
                "classifiers": [{"name": "toxicity", "model": {"volume": {"path": "models/c"}}, "label": "toxic"}],
            },
        },
    }
)
MEASURES = "evaluate.measures"


def test_secrets_of_downloads() -> None:
    found = [(reference.name, reference.key) for reference in uses.download_secrets(STAGE)]
    assert found == [
        ("hub", "text"),
        ("store", "AWS_ACCESS_KEY_ID"),
        ("store", "AWS_SECRET_ACCESS_KEY"),
        ("hub", "task"),
    ]


def test_config_maps_of_texts() -> None:
    (found,) = uses.data_config_maps(STAGE)
    assert (found.name, found.key) == ("prose", "a.jsonl")
    assert found.key_field == f"{MEASURES}.texts[1].configMap.key"


def test_classifiers() -> None:
    (found,) = (use for use in uses.models(STAGE) if use.kind is ModelKind.CLASSIFIER)
    assert found.field == f"{MEASURES}.classifiers[0].model"
