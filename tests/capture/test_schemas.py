import json

import pytest

from headsup_cli.capture.schemas import SCHEMAS, json_schema_text


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_json_schema_is_true(name, repository):
    published = (repository / f"docs/schemas/{name}.schema.json").read_text(encoding="utf-8")
    assert published == json_schema_text(SCHEMAS[name]), (
        "run python -c 'from pathlib import Path; from headsup_cli.capture.schemas import write_json_schemas; "
        'write_json_schemas(Path("docs/schemas"))\''
    )


@pytest.mark.parametrize("page", ["rig-format", "capture-format"])
def test_example_in_the_docs_is_valid(page, repository):
    text = (repository / f"docs/{page}.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    model = {schema.split("-")[1]: model for schema, model in SCHEMAS.items()}[page.split("-")[0]]
    model.model_validate(example)
