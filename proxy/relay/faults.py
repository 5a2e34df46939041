"""
What providers say when they refuse or fail, and what it means: one row for each thing that is known.

Data only, to be read and extended; docs/faults.md shows it. Rows are found in `meaning`. An error that no row knows is
judged by its HTTP status alone, in `verdict`, on the safe side: the call is refused and no key is parked.
"""

from proxy.relay.account_faults import BELOW_500, KEYS, MONEY_GONE
from proxy.relay.fault_sources import (
    ANTHROPIC,
    ARK,
    AZURE,
    BEDROCK,
    CEREBRAS,
    CLOUDFLARE,
    COHERE,
    DASHSCOPE,
    FIREWORKS,
    GEMINI,
    GITHUB,
    GOOGLE,
    GROQ,
    GROQ_MODELS,
    LITELLM,
    LLAMA,
    LM_STUDIO,
    MINIMAX,
    MISTRAL,
    MOONSHOT,
    NEW_API,
    OLLAMA,
    OPENAI,
    OPENROUTER,
    RESPONSES,
    SGLANG,
    TGI,
    VLLM,
    ZAI,
)
from proxy.relay.meaning import Meaning, Row

REQUEST, ELSEWHERE, NOT_FOUND, CONTEXT = Meaning.REQUEST, Meaning.ELSEWHERE, Meaning.MODEL_NOT_FOUND, Meaning.CONTEXT
RATE, OVERLOADED, TIMEOUT = Meaning.RATE, Meaning.OVERLOADED, Meaning.TIMEOUT
UNREACHABLE = Meaning.UNREACHABLE

_ELSEWHERE = (
    Row(ELSEWHERE, OPENAI, codes=("missing_scope", "insufficient_permissions", "unsupported_country_region_territory")),
    Row(ELSEWHERE, GROQ_MODELS, codes=("model_permission_blocked_org", "model_permission_blocked_project")),
    Row(ELSEWHERE, DASHSCOPE, codes=("Model.AccessDenied", "AccessDenied.Unpurchased", "AllocationQuota.FreeTierOnly")),
    Row(ELSEWHERE, GEMINI, codes=("USER_LOCATION_NOT_SUPPORTED", "LOCATION_POLICY_VIOLATED")),
    Row(ELSEWHERE, MINIMAX, codes=("base_resp.2061",)),
    # The server has no such path: https://fastapi.tiangolo.com/reference/exceptions/ and OpenAI's own code.
    Row(ELSEWHERE, OPENAI, codes=("unknown_url",), statuses=BELOW_500),
    Row(
        ELSEWHERE,
        "https://fastapi.tiangolo.com/reference/exceptions/",
        words=r"^(?:the |requested )*(?:resource|url|path|page|route|endpoint)? ?not found\.?$",
        statuses=(404,),
    ),
    # LiteLLM says it with 401: https://github.com/winfunc/opcode/issues/358
    Row(ELSEWHERE, LITELLM, types=("key_model_access_denied", "team_model_access_denied", "org_model_access_denied")),
    Row(ELSEWHERE, LITELLM, types=("user_model_access_denied", "project_model_access_denied")),
    Row(ELSEWHERE, LITELLM, words=r"exceededbudget: end user|^litellm user: \S+ exceeded budget for model"),
    Row(ELSEWHERE, NEW_API, words=r"该令牌无权(?:使用|访问)|^this token has no access to model", statuses=BELOW_500),
    Row(ELSEWHERE, BEDROCK, words=r"is not authorized to perform: bedrock:", statuses=BELOW_500),
    Row(ELSEWHERE, DASHSCOPE, words=r"^(?:access to model denied|model access denied)", statuses=BELOW_500),
    Row(ELSEWHERE, BEDROCK, types=("AccessDeniedException",), statuses=BELOW_500),
    Row(
        ELSEWHERE,
        GROQ,
        codes=("rate_limit_exceeded",),
        words=r"^request too large for .{0,200}tokens per (?:min|day)",
    ),
    Row(ELSEWHERE, OPENAI, words=r"insufficient permissions for this operation|missing scopes?:", statuses=BELOW_500),
    Row(
        ELSEWHERE,
        OPENAI,
        words=r"(?:does not|don't) have access to (?:the |this )?model|organization must be verified"
        r"|^(?:(?:your|this) )?(?:organization|project|account|team)\b.{0,80}?does not have access to \S"
        r"|^you are not allowed to (?:sample from|use|access) (?:the |this )?model",
        statuses=BELOW_500,
    ),
    Row(
        ELSEWHERE,
        GEMINI,
        words=r"^(?:user location is not supported|country, region, or territory not supported)"
        r"|not available (?:in|on|for|with) your (?:region|country|location|plan|tier|subscription)",
        statuses=BELOW_500,
    ),
    Row(
        ELSEWHERE,
        "https://github.com/can1357/oh-my-pi/issues/9569",
        words=r"more credits, or fewer max_tokens|^prompt tokens limit exceeded|^more credits are required to run",
        statuses=BELOW_500,
    ),
    Row(
        ELSEWHERE,
        OPENROUTER,
        words=r"^no (?:endpoints|allowed providers|providers)\b.{0,40}?\b(?:found|available)",
        statuses=BELOW_500,
    ),
    Row(ELSEWHERE, ANTHROPIC, words=r"^the long context beta is not yet available for this subscription"),
    Row(UNREACHABLE, CLOUDFLARE, codes=("cloudflare_error",), statuses=range(400, 429)),
    Row(
        UNREACHABLE,
        AZURE,
        words=r"^(?:access denied due to virtual network|public access is disabled)",
        statuses=(403,),
    ),
)

_MODELS = (
    Row(NOT_FOUND, OPENAI, codes=("model_not_found", "model_not_available", "model_not_exist", "unknown_model")),
    Row(NOT_FOUND, AZURE, codes=("DeploymentNotFound", "ModelNotFound")),
    Row(NOT_FOUND, GROQ, codes=("model_decommissioned", "model_deprecated", "model_not_supported")),
    Row(NOT_FOUND, MISTRAL, types=("invalid_model", "model_not_found_error", "ModelNotFoundError")),
    Row(NOT_FOUND, ANTHROPIC, types=("not_found_error",), words=r"^model: "),
    Row(NOT_FOUND, BEDROCK, words=r"^the provided model identifier is invalid"),
    Row(
        NOT_FOUND,
        OLLAMA,
        words=r"^(?:the |this |requested )*model\b.{0,200}?\b(?:does not exist|not found|not exist|not available)",
        statuses=BELOW_500,
    ),
    Row(
        NOT_FOUND,
        OPENROUTER,
        words=r"^\S+ is not a valid model id\b|^(?:unknown|invalid) model\b|^models/\S+ is not found|^no such model\b"
        r"|invalid model name passed in model=",
        statuses=BELOW_500,
    ),
)

_CONTEXT = (
    Row(CONTEXT, OPENAI, codes=("context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded")),
    Row(CONTEXT, GITHUB, codes=("tokens_limit_reached", "model_max_prompt_tokens_exceeded")),
    Row(CONTEXT, MINIMAX, codes=("base_resp.1039",)),
    Row(CONTEXT, MINIMAX, codes=("base_resp.2013",), words=r"context window exceeds limit"),
    Row(CONTEXT, ZAI, codes=("1261",), statuses=(0, 400)),
    Row(CONTEXT, LLAMA, types=("exceed_context_size_error", "context_length_exceeded", "ContextWindowExceededError")),
    Row(CONTEXT, OPENAI, words=r"maximum (?:model|context|prompt|input) length (?:is|of) |exceeds the context window"),
    Row(CONTEXT, "https://github.com/cline/cline/issues/5474", words=r"input tokens exceed the configured limit"),
    Row(CONTEXT, "https://developers.cloudflare.com/workers-ai/", words=r"exceeded this model context window limit"),
    Row(CONTEXT, "https://cloud.baidu.com/doc/qianfan-api/s/Am9qvn3wk", codes=("tokens_too_long", "336007", "336103")),
    Row(
        CONTEXT,
        "https://www.ibm.com/docs/en/watsonx/saas?topic=solutions-troubleshooting",
        words=r"input tokens \d+ cannot exceed the total tokens limit",
    ),
    Row(CONTEXT, "https://github.com/theroyallab/tabbyAPI", words=r"^prompt length \d+ is greater than max_seq_len"),
    Row(CONTEXT, ARK, words=r"^total tokens of image and text exceed max message tokens"),
    Row(CONTEXT, ANTHROPIC, words=r"^prompt is too long|prompt is too long: \d+|\bexceeds? (?:the )?context limit\b"),
    Row(
        CONTEXT,
        GEMINI,
        words=r"input token count (?:\(\d+\) |is \d+ )?(?:exceeds the maximum|but the model only supports)",
    ),
    Row(CONTEXT, VLLM, words=r"is longer than the maximum model length|max_tokens must be at least 1, got -"),
    Row(
        CONTEXT,
        SGLANG,
        words=r"longer than the model's context (?:length|window)|exceeds? (?:the )?model's (?:maximum )?context length"
        r"|(?:input|prompt) length .{0,40}exceeds (?:the )?maximum (?:allowed )?(?:input )?length",
    ),
    Row(
        CONTEXT,
        LLAMA,
        words=r"available context size|^input.{0,20} is too large to process|^context size has been exceeded",
    ),
    Row(CONTEXT, OLLAMA, words=r"input length exceeds (?:the |maximum )*context length|exceeded max context length"),
    Row(
        CONTEXT,
        LM_STUDIO,
        words=r"context length of only \d|greater than the context length|with n_keep .{0,20}>= n_ctx",
    ),
    Row(CONTEXT, TGI, words=r"`inputs` (?:tokens \+ `max_new_tokens` must be|must have less than)"),
    Row(CONTEXT, MISTRAL, words=r"too large for model with \d+ maximum context length"),
    Row(CONTEXT, GROQ, words=r"^please reduce the length of the (?:messages|prompt|input)"),
    Row(
        CONTEXT,
        BEDROCK,
        words=r"input is too long for (?:the )?requested model|\btoo many input tokens|^input tokens exceeded:",
    ),
    Row(CONTEXT, COHERE, words=r"^too many tokens: (?:total number|size limit)"),
    Row(CONTEXT, FIREWORKS, words=r"prompt is too long: \d+, model maximum context length"),
    Row(CONTEXT, DASHSCOPE, words=r"range of input length should be \["),
    Row(CONTEXT, MOONSHOT, words=r"exceeded model token limit|^(?:invalid request: )?input token length too long"),
    Row(CONTEXT, MINIMAX, words=r"context window exceeds limit"),
    Row(CONTEXT, ZAI, words=r"^prompt exceeds max length"),
    Row(CONTEXT, GITHUB, words=r"prompt token count of \d+ exceeds the limit|^request body too large for \S+ model"),
)

_PACE = (
    Row(RATE, OPENAI, codes=("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "requests_per_minute")),
    Row(RATE, GOOGLE, codes=("RESOURCE_EXHAUSTED",), providers=("gemini",)),
    Row(RATE, DASHSCOPE, codes=("Throttling", "Throttling.RateQuota", "Throttling.AllocationQuota", "LimitRequests")),
    Row(RATE, MINIMAX, codes=("base_resp.1002",)),
    Row(
        RATE, ANTHROPIC, types=("rate_limit_error", "rate_limit_reached_error", "ThrottlingException", "RateLimitError")
    ),
    Row(RATE, CEREBRAS, types=("too_many_requests_error", "too_many_tokens_error", "rate_limit_exceeded")),
    Row(RATE, MOONSHOT, words=r"exceeded your current rate limit|^rate limit (?:reached|exceeded)", statuses=(0, 449)),
)

_PROVIDER = (
    Row(OVERLOADED, OPENAI, codes=("server_is_overloaded", "overloaded", "service_unavailable", "slow_down")),
    Row(OVERLOADED, MOONSHOT, codes=("engine_overloaded", "engine_overloaded_error", "capacity_exceeded")),
    Row(OVERLOADED, ANTHROPIC, types=("overloaded_error", "engine_overloaded_error", "service_unavailable_error")),
    Row(OVERLOADED, BEDROCK, types=("ServiceUnavailableException", "ModelNotReadyException", "unavailable_error")),
    Row(
        OVERLOADED, GEMINI, words=r"\boverloaded\b|^service (?:temporarily )?unavailable\b|at capacity\b", statuses=(0,)
    ),
    Row(
        TIMEOUT,
        ANTHROPIC,
        types=("timeout_error", "ModelTimeoutException", "DEADLINE_EXCEEDED"),
        statuses=(0, *range(500, 600)),
    ),
    Row(TIMEOUT, MINIMAX, codes=("base_resp.1001",)),
    Row(OVERLOADED, GROQ, words=r"capacity", statuses=(498,)),
)

_REQUEST = (
    Row(REQUEST, OPENAI, codes=("content_policy_violation", "content_filter", "invalid_prompt", "moderation_blocked")),
    Row(
        REQUEST, RESPONSES, codes=("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url")
    ),
    Row(REQUEST, RESPONSES, codes=("image_too_large", "image_too_small", "image_parse_error", "invalid_image_mode")),
    Row(REQUEST, RESPONSES, codes=("image_content_policy_violation", "image_file_too_large", "empty_image_file")),
    Row(REQUEST, RESPONSES, codes=("unsupported_image_media_type", "failed_to_download_image", "image_file_not_found")),
    Row(REQUEST, DASHSCOPE, codes=("DataInspectionFailed", "data_inspection_failed")),
    Row(REQUEST, MINIMAX, codes=("base_resp.1026", "base_resp.1027", "base_resp.2013")),
)

ROWS: tuple[Row, ...] = (*KEYS, *MONEY_GONE, *_ELSEWHERE, *_MODELS, *_CONTEXT, *_PACE, *_PROVIDER, *_REQUEST)
"""Among rows of the same rank, see `meaning`, the first that fits decides."""
