"""Queries as clients send them: every byte arrives at the provider, or the call is refused and the name is said."""

import importlib
import pkgutil
import typing
from typing import Any

import openai.types
import pytest

from proxy.api import query
from proxy.core.errors import ProxyError
from tests.field.build import answer
from tests.field.play import Play

LIST = answer(200, {"object": "list", "data": [], "has_more": False})


async def asked(play: Play, request: str, **more: Any) -> Any:
    configuration: dict[str, Any] = {"providers": {"a": {"type": "compatible", "base_url": "{a}/v1", "models": ["m"]}}}
    step = {"step": "call", "request": request}
    if "authorization" in more:
        configuration["auth"] = {"keys": [{"name": "narrow", "key": more["authorization"][7:], "models": ["m"]}]}
    return await play(configuration, {"a": {"models": ["m"], "rules": [{"when": {}, "answer": LIST}]}}, [step | more])


@pytest.mark.parametrize(
    "target",
    [
        # platform.claude.com/docs/en/api: models, message batches, files, skills
        "/v1/messages/batches?after_id=msgbatch_1&limit=20&before_id=msgbatch_9",
        "/v1/skills?beta=true&source=custom&page=page_MjAyNS0wNS0xNFQwMDowMDowMFo%3D",
        # platform.openai.com/docs/api-reference: responses, conversations, chat completions, organization usage
        "/v1/responses/resp_1?include[]=file_search_call.results&include[]=x&starting_after=3&include_obfuscation=false",
        "/v1/conversations/conv_1/items?limit=5&order=asc&include=step.details",
        "/v1/organization/usage/completions?start_time=1730419200&bucket_width=1d&group_by=model&api_key_ids=key_1",
        "/v1/vector_stores/vs_1/file_batches/b_1/files?filter=in_progress&before=file_2",
        # learn.microsoft.com/azure/ai-services/openai/reference: every call names its version
        "/v1/files?api-version=2024-10-21",
        # docs.mistral.ai/api, /v1/batch/jobs
        "/v1/batch/jobs?page=0&page_size=100&created_by_me=false&status=QUEUED&status=RUNNING",
        # what no document names, empty values, no values, the same twice, other spellings
        "/v1/files?colour=blue&flag&empty=&x=1&x=2&x=1&%78=3&a%20b=c+d",
        "/v1/files?&&a=1&&",
        "/v1/files?keys=1&token_count=2&api_key_id=3&tokens=4&keyword=5&monkey=6&page_token=7&pageToken=8&turkey=9",
        "/v1/chat/completions?metadata%5Bkey%5D=api_key&metadata[token]=x&model=m",
        "/v1/files?a=%00&b=%FF&c=%zz&d=+%20&e=b=c==&/?f&include[0]=1&a[b][c]=",
    ],
)
async def test_every_byte_of_a_query_arrives(play: Play, target: str) -> None:
    played = await asked(play, f"GET {target}")
    assert played["call"].status == 200
    assert [each.target for each in played.asked("a")] == [target]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        # ai.google.dev/api: the key of Gemini; cloud.google.com/apis/docs/system-parameters
        ("key=AIzaSyExample", "key"),
        ("limit=2&access_token=ya29.example", "access_token"),
        # learn.microsoft.com/azure/api-management/api-management-subscriptions
        ("subscription-key=0123", "subscription-key"),
        ("API-Key=0123&api-version=2024-10-21", "API-Key"),
        ("api_key=0123", "api_key"),
        ("apikey", "apikey"),
        # huggingface.co, developers.deepgram.com: tokens for WebSockets
        ("token=hf_example", "token"),
        ("Authorization=Bearer%20x", "Authorization"),
        # docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
        ("X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027", "X-Amz-Signature"),
        # docs.litellm.ai: a request may choose where it goes
        ("base_url=http%3A%2F%2Fexample.com", "base_url"),
        ("api_base=http://example.com", "api_base"),
        # other spellings of the same
        ("api%5Fkey=1", "api_key"),
        ("%6B%65%79=1", "key"),
        ("api_key%5B%5D=1", "api_key"),
        ("extra_headers[Authorization]=1", "extra_headers"),
        ("a=1;api_key=2", "api_key"),
        ("+key+=1", "key"),
        ("apiKey=1", "apiKey"),
        ("api.key=1", "api.key"),
        ("accessToken=1", "accessToken"),
        ("subscriptionKey=1", "subscriptionKey"),
        ("ANTHROPIC_API_KEY=1", "ANTHROPIC_API_KEY"),
        ("openrouter-api-key=1", "openrouter-api-key"),
        ("X-Auth-Token=1", "X-Auth-Token"),
        ("key%00=1", "key"),
        ("headers[Authorization]=1", "headers"),
        ("apiBase=1", "apiBase"),
        ("openai_base_url=1", "openai_base_url"),
        # learn.microsoft.com/azure/storage/common/storage-sas-overview
        ("sv=2024-11-04&se=2030-01-01&sig=0123", "sig"),
    ],
)
async def test_a_key_or_a_destination_in_the_query_is_refused_by_name(play: Play, query: str, param: str) -> None:
    played = await asked(play, f"GET /v1/files?{query}")
    assert played["call"].status == 400
    assert (played["call"].error["code"], played["call"].error["param"]) == ("unsupported_parameter", param)
    assert not played.asked("a")
    assert b"example" not in played["call"].body
    told = played["call"].json
    # Its id is chance.
    told["error"].pop("request_id")
    assert "0123" not in str(told)


@pytest.mark.parametrize(("named", "status"), [("m", 200), ("dear", 403), ("m&model=dear", 403), ("m&mod%65l=d", 403)])
async def test_a_restricted_key_reaches_no_other_model_by_the_query(play: Play, named: str, status: int) -> None:
    # LiteLLM reads `model` of the query before the body's.
    key = "Bearer hpx_Fd7kQ2mZ9xWc4Tn8Rb1Lp6Vy3Hs5Jg0A"
    body = {"model": "m", "input": "hi"}
    played = await asked(play, f"POST /v1/embeddings?model={named}", body=body, authorization=key)
    assert played["call"].status == status
    assert len(played.asked("a")) == (status == 200)


def test_no_parameter_of_openais_sdk_is_refused() -> None:
    known = set()
    for module in pkgutil.walk_packages(openai.types.__path__, "openai.types."):
        if module.name.endswith(("list_params", "retrieve_params", "content_params", "completions_params")):
            found = importlib.import_module(module.name)
            for name in getattr(found, "__all__", ()):
                if name.endswith(("ListParams", "RetrieveParams", "ContentParams", "CompletionsParams")):
                    known |= typing.get_type_hints(getattr(found, name)).keys()
    assert {"after", "order_by", "variant", "run_id", "include", "metadata", "project_ids"} <= known
    for name in known:
        query.check(f"?{name}=x&{name}[]=y")


@pytest.mark.parametrize("name", sorted({**query.REFUSED, **query.ENDS}))
def test_a_refused_name_says_why_and_is_refused_in_every_spelling(name: str) -> None:
    assert {**query.REFUSED, **query.ENDS}[name]
    camel = name.title().replace("_", "")
    for spelled in (name, name.upper(), name.replace("_", "-").title(), camel, f"{name}[]", f"{name}%5Bx%5D"):
        with pytest.raises(ProxyError) as caught:
            query.check(f"?limit=1&{spelled}=x")
        assert caught.value.code == "unsupported_parameter"
