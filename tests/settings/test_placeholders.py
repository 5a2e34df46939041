"""What `check` says of a placeholder: why it is none, and what to do; which ones are known stands in tests/field."""

import pytest
import yaml

from proxy.settings import SettingsError, load
from proxy.settings.placeholders import placeholder

COPIED = ["sk-your-key-here", "YOUR_API_KEY", "YOUR_OPENAI_API_KEY", "<your-key>", "<...>", "sk-...", "sk-ant-..."]
COPIED += ["changeme", "CHANGE_ME", "sk-xxxxxxxx"]


@pytest.mark.parametrize("key", COPIED)
def test_of_a_providers_key_it_says_where_the_real_one_belongs(key: str, tmp_path) -> None:
    file = tmp_path / "hapax.yaml"
    for provider, variable in (("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY")):
        file.write_text(yaml.safe_dump({"providers": {provider: {"api_key": key}}}))
        (warning,) = load(file, environ={}).warnings
        about, _, rest = warning.partition(" (")
        assert about == f"providers.{provider}.api_key: looks like a placeholder"
        assert rest.endswith(
            "); the provider will refuse it: put its key in its place, best as "
            f"${{{variable}}}, with {variable} set in the environment"
        )
        assert key not in warning


@pytest.mark.parametrize("key", COPIED)
def test_as_a_clients_or_the_admins_key_it_is_refused_with_the_way_to_make_one(key: str, tmp_path) -> None:
    file = tmp_path / "hapax.yaml"
    file.write_text(yaml.safe_dump({"auth": {"admin_key": key, "keys": [{"name": "web", "key": f"{key}-2"}]}}))
    with pytest.raises(SettingsError) as caught:
        load(file, environ={})
    for problem in caught.value.problems:
        assert problem.message.startswith("looks like a placeholder"), problem
        assert "; make a real key with python -c" in problem.message
        assert key not in problem.message
    assert [problem.path for problem in caught.value.problems] == ["auth.keys[0].key", "auth.admin_key"]


def test_what_is_to_be_filled_in_is_not_taken_for_the_name_of_a_variable() -> None:
    assert placeholder("YOUR_API_KEY") == "it says what belongs there"
    assert placeholder("OPENAI_API_KEY") == "it is the name of a variable, whose value ${OPENAI_API_KEY} would be"
